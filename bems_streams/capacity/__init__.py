"""How many processes, brokers, bytes and dollars a cell needs, from measured figures. Pure: no broker, no clock.

Not here: measuring (benchmarks/footprint.py), the command (cli/capacity.py).
"""
