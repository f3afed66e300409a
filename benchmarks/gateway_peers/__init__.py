"""What the gateway is measured against: servers of the same addresses, each a process of its own."""
