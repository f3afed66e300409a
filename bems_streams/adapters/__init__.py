"""One third-party system per file, behind the ports."""
