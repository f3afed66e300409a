"""Faust made safe: the only place that knows Faust's insides."""
