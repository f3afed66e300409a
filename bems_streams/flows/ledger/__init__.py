"""The parts of verifying the ledger. Not here: putting them together (flows/reconcile.py)."""
