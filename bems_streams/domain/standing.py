"""How an accepted event stands now: what its receipt resolves to, as told over HTTP and on the command line.

Times are RFC 3339 in UTC. Not here: how it is found out (flows/receipt.py).
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class State(StrEnum):
    """What became of the event, by the agent that writes the store."""

    ACCEPTED = "accepted"  # durable in the log, not handled yet
    STORED = "stored"
    DUPLICATE = "duplicate"  # its event was stored already, from another receipt
    RETRYING = "retrying"  # waits in a lane for another try
    DEAD_LETTERED = "dead_lettered"
    MISSING = "missing"  # handled, as the ledger says, and nowhere to be found: what must never happen


class StoredFirst(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt under which the same event was stored, and its times."""

    receipt: str
    accepted_at: datetime
    stored_at: datetime


class AgentNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one agent could not handle, now. `noted_at`: since when; `show`: the command that shows the record."""

    agent: str
    state: State
    code: str
    reason: str
    noted_at: datetime
    attempts: int | None = None
    next_try_at: datetime | None = None
    show: str | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a receipt. What is not known is left out.

    detail        what it means and what to do, in a sentence
    duplicate_of  for a duplicate
    agents        what agents set aside and have not handled since, the one that writes the store first
    """

    receipt: str
    state: State
    detail: str
    accepted_at: datetime | None = None
    stored_at: datetime | None = None
    invoice_id: str | None = None
    event_id: str | None = None
    duplicate_of: StoredFirst | None = None
    agents: tuple[AgentNote, ...] = ()
