"""Journeys: what happens to a record, in order, over ports; one per file."""
