"""Carries out a plan: each fault on a thread of its own, when it is due and nothing that it must not meet is under way.

Not here: what is planned (plan.py), how a fault is done (faults.py), who watches (samples.py).
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bems_streams.local.prove.entry import Entry
from bems_streams.local.prove.faults import FAULTS, Fault
from bems_streams.local.prove.plan import Planned
from bems_streams.local.prove.samples import Sample
from bems_streams.local.prove.verbs import Breakable

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
STEADY_LOOKS: Final = 2
"""A zombie answers that it is ready until it hears otherwise: it has to be so twice."""
SURVIVE_SECONDS: Final = 120.0


class Engine:
    """One run of a plan. `entries` grows while it runs; reading it is safe at any time."""

    def __init__(
        self,
        cluster: Breakable,
        latest: Callable[[], Sample],
        *,
        faults: Mapping[str, Fault] = FAULTS,
        survive_seconds: float = SURVIVE_SECONDS,
        look_seconds: float = LOOK_SECONDS,
        began: Callable[[Entry], None] = lambda _: None,
        ended: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        self.entries: list[Entry] = []
        self._tell_began = began
        self._tell_ended = ended
        self._cluster = cluster
        self._latest = latest
        self._faults = faults
        self._survive_seconds = survive_seconds
        self._look_seconds = look_seconds
        self._under_way: dict[threading.Thread, Planned] = {}
        self._began = time.monotonic()
        self.ran_seconds = 0.0

    def run(self, plan: Sequence[Planned], until_seconds: float) -> None:
        """Until the time is up, or the cluster's `ending` is set; returns once every fault is undone."""
        self._began = time.monotonic()
        try:
            for planned in plan:
                if not self._await_turn(planned, until_seconds):
                    break
                thread = threading.Thread(target=self._carry_out, args=(planned,), name=planned.kind.name)
                self._under_way[thread] = planned
                thread.start()
            self._cluster.pause(until_seconds - self.seconds)
        except BaseException:
            self._cluster.ending.set()
            raise
        finally:
            self.ran_seconds = self.seconds
            for thread in list(self._under_way):
                thread.join()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def _await_turn(self, planned: Planned, until_seconds: float) -> bool:
        while not self._cluster.ending.is_set() and self.seconds < until_seconds:
            self._under_way = {thread: held for thread, held in self._under_way.items() if thread.is_alive()}
            free = all(planned.kind.zone.overlaps(held.kind.zone) for held in self._under_way.values())
            joins = all(planned.at_seconds < held.busy_until_seconds for held in self._under_way.values())
            if self.seconds >= planned.at_seconds and free and joins:
                return True
            self._cluster.pause(0.1)
        return False

    def _carry_out(self, planned: Planned) -> None:
        fault = self._faults[planned.kind.name]
        entry = Entry(planned, self.seconds, accepted_before=self._latest().accepted)
        self.entries.append(entry)
        self._tell_began(entry)
        try:
            try:
                fault.inject(self._cluster, planned)
                self._cluster.pause(planned.hold_seconds)
            finally:
                fault.recover(self._cluster, planned)
            entry.ended_seconds = self.seconds
            entry.accepted_after = self._latest().accepted
            self._await_survival(entry)
        except Exception as error:
            logger.exception("fault %d, %s", planned.number, planned.kind.name)
            entry.missing = f"the fault itself failed: {type(error).__name__}: {error}"
        finally:
            self._tell_ended(entry)

    def _await_survival(self, entry: Entry) -> None:
        """Whole, and caught up with all that was accepted until the fault ended. After the end of the proof too."""
        end, steady = time.monotonic() + self._survive_seconds, 0
        while True:
            missing = self._missing(entry)
            steady = 0 if missing else steady + 1
            if steady <= 1:
                entry.survived_seconds = None if missing else self.seconds
            entry.missing = missing
            if steady == STEADY_LOOKS:
                return
            if missing and time.monotonic() > end:
                return
            time.sleep(self._look_seconds)

    def _missing(self, entry: Entry) -> str:
        not_ready = self._cluster.not_ready()
        if not_ready:
            return "; ".join(f"{name} {reason}" for name, reason in not_ready.items())
        behind = entry.accepted_after - self._latest().accounted
        return f"{behind} events accepted before it ended are not accounted for" if behind > 0 else ""
