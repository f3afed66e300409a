"""Who runs a command that changes something, and the name of the run: for the audit. Not here: the audit (flows)."""

import getpass
import secrets
import socket

from bems_streams.config import Settings
from bems_streams.domain.event import instant


def operator(settings: Settings) -> str:
    """As told by BEMS_OPERATOR, else user and machine."""
    return settings.operator or f"{getpass.getuser()}@{socket.gethostname()}"


def run_name(now_us: int) -> str:
    """Sorts by time, and is no other's."""
    return f"{instant(now_us):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
