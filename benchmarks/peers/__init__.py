"""Other engines doing the same work as the tracker, each in a process of its own; started by tracker_peers.py."""
