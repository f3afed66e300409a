"""Stream loops, one agent per file; worker.py is their composition root."""
