"""`bems …`: one file per command, each a composition root for what it runs."""
