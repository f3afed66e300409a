"""`python -m bems_streams …` is `bems …`: how the one-machine cell starts its processes with the same interpreter."""

from bems_streams.cli.main import main

main()
