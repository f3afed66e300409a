"""The web face for people: one live page and its query API."""
