"""Where the processes of a cell on this machine answer, and which of them do not.

Not here: starting them (cell.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import httpx

from bems_streams.local.ports import free_ports, port_is_free

ASK_SECONDS: Final = 2.0


def role_of(name: str) -> str:
    """What a process does: its name without a number behind."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and number.isdecimal() else name


@dataclass(frozen=True, slots=True)
class Addresses:
    """One URL per process, by name: a gateway's and the console's own, and where the others answer probes."""

    health: Mapping[str, str]

    @classmethod
    def of(cls, names: Sequence[str], asked: Mapping[str, int | None]) -> Self:
        """Free ports; a role's first process gets the one asked for while that is free."""
        spare = iter(free_ports(len(names)))
        left = {role: port for role, port in asked.items() if port is not None and port_is_free(port)}
        return cls({name: f"http://127.0.0.1:{left.pop(role_of(name), None) or next(spare)}" for name in names})

    @property
    def gateway(self) -> str:
        """The first gateway. LookupError when there is none."""
        return self._first("gateway")

    @property
    def console(self) -> str:
        """The console. LookupError when there is none."""
        return self._first("console")

    def _first(self, role: str) -> str:
        found = self.of_roles(role)
        if not found:
            raise LookupError(f"this cell has no {role}: name one among its roles")
        return found[0]

    def of_roles(self, *roles: str) -> Sequence[str]:
        """The URLs of all processes of these roles."""
        return [url for name, url in self.health.items() if role_of(name) in roles]

    def port(self, name: str) -> str:
        """The port of one process; 0, a free one, for a process beyond those laid out."""
        return self.health[name].rpartition(":")[2] if name in self.health else "0"

    def not_ready(self, names: Sequence[str] | None = None) -> Mapping[str, str]:
        """Asks each, and returns those that do not say that they are ready, with the reason."""
        found = {name: not_ready(self.health[name]) for name in (self.health if names is None else names)}
        return {name: reason for name, reason in found.items() if reason is not None}


def not_ready(url: str) -> str | None:
    """Why the process that answers there is not ready; None when it is."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=ASK_SECONDS)
    except httpx.TransportError as error:
        return f"does not answer ({type(error).__name__})"
    if answer.status_code == httpx.codes.OK:
        return None
    try:
        return str(answer.json()["reason"])
    except (ValueError, LookupError, TypeError):
        return f"answers {answer.status_code}"
