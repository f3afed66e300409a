"""Loopback ports: which are free, and free ones to take.

Not here: who listens on them.
"""

import random
import socket
from collections.abc import Sequence

from bems_streams.local.kafka_config import LOOPBACK

# Below every system's range for outgoing connections: while a server is down, no client can be given its port (a client
# that reconnects in a loop could even connect to itself).
_FROM, _UNTIL = 20_000, 30_000


def port_is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_ports(count: int) -> Sequence[int]:
    """Distinct free ports. Nothing holds them: whoever listens first has them."""
    candidates = random.SystemRandom().sample(range(_FROM, _UNTIL), _UNTIL - _FROM)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            return found
        if port_is_free(port):
            found.append(port)
    raise OSError(f"fewer than {count} of the ports {_FROM} to {_UNTIL - 1} on {LOOPBACK} are free")
