"""The web face for upstream systems: accepts events."""
