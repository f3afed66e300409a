"""Measurements of this machine. Not here: anything that the product imports."""
