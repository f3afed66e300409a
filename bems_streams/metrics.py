"""Every metric the cell exposes, by role. Names: bems_<noun>_<unit>[_total]; labels come from bounded sets only.

Not here: where they are served (health.py). A process builds only the groups of its role, in a registry it is given.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bems_streams.histogram import BulkHistogram

LATENCY_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)


class GatewayMetrics:
    """What the gateway counts. `outcome`: accepted, rejected, unavailable, throttled."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("bems_gateway_events", "Events by outcome.", ["stage", "outcome"], registry=registry)
        self.requests = Counter("bems_gateway_requests", "Requests by HTTP status.", ["status"], registry=registry)
        self.request_seconds = Histogram(
            "bems_gateway_request_seconds", "Request duration.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self.in_flight = Gauge("bems_gateway_in_flight_events", "Events awaiting the broker.", registry=registry)


class AgentMetrics:
    """What every agent counts. `outcome`: stored, duplicate, replayed, folded, retrying, dead_lettered."""

    def __init__(self, registry: CollectorRegistry, agent: str) -> None:
        self.agent = agent
        events = Counter("bems_agent_events", "Records by outcome.", ["agent", "stage", "outcome"], registry=registry)
        dead = Counter("bems_agent_dead_letters", "Dead letters by code.", ["agent", "code"], registry=registry)
        lag = Gauge(
            "bems_agent_lag_events",
            "Records behind the end of the topic.",
            ["agent", "stage", "partition"],
            registry=registry,
        )
        retries = Counter("bems_agent_retries", "Records put into a lane.", ["agent", "code"], registry=registry)
        pauses = Counter("bems_agent_pauses", "Times the destination went down.", ["agent", "code"], registry=registry)
        paused = Gauge("bems_agent_paused", "1 while the destination is down.", ["agent"], registry=registry)
        lane = Gauge("bems_agent_lane_records", "Records that wait in a lane.", ["agent", "lane"], registry=registry)
        self._events, self._dead, self._lag = events, dead, lag
        self._retries, self._pauses, self._paused, self._lane = retries, pauses, paused.labels(agent), lane
        self.visibility_seconds = BulkHistogram(
            "bems_agent_visibility_seconds", "Acceptance to durable.", LATENCY_BUCKETS, registry
        )

    def count(self, stage: str, outcome: str, events: int) -> None:
        """Add `events` records of `stage` with this outcome."""
        self._events.labels(self.agent, stage, outcome).inc(events)

    def dead_letter(self, code: str) -> None:
        """Count one dead letter."""
        self._dead.labels(self.agent, code).inc()

    def retry(self, code: str) -> None:
        """Count one record put into a lane."""
        self._retries.labels(self.agent, code).inc()

    def pause(self, code: str) -> None:
        """The destination is down as a whole."""
        self._pauses.labels(self.agent, code).inc()
        self._paused.set(1)

    def resume(self) -> None:
        """The destination is back."""
        self._paused.set(0)

    def lane(self, lane: str, records: int) -> None:
        """Set how many records wait in one lane, in the partitions held."""
        self._lane.labels(self.agent, lane).set(records)

    def lag(self, stage: str, partition: int, records: int) -> None:
        """Set how far behind one partition is."""
        self._lag.labels(self.agent, stage, str(partition)).set(records)


class TableMetrics:
    """What the tracker's table says of itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.restored = Counter("bems_table_restored_records", "Changelog records applied.", registry=registry)
        self.restoring = Gauge(
            "bems_table_restore_remaining_records", "Changelog records still to apply.", registry=registry
        )
        self.partitions = Gauge("bems_table_partitions", "Partitions held and ready.", registry=registry)
        self.alerts = Counter("bems_table_alerts", "Alerts published.", ["stage", "kind"], registry=registry)
        self.scan_seconds = Histogram(
            "bems_table_deadline_scan_seconds", "One deadline scan.", buckets=LATENCY_BUCKETS, registry=registry
        )


class ConsoleMetrics:
    """What the console counts. `outcome` of a look at the store: taken, failed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._looks = Counter("bems_console_looks", "Looks at the store by outcome.", ["outcome"], registry=registry)
        self.look_seconds = Histogram(
            "bems_console_look_seconds", "One look, all queries.", buckets=LATENCY_BUCKETS, registry=registry
        )

    def look(self, outcome: str) -> None:
        """Count one look."""
        self._looks.labels(outcome).inc()


class LedgerMetrics:
    """What verifying the ledger found, at its newest look; everything is 0 while the ledger is closed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"bems_ledger_{name}", text, labels, registry=registry)

        self._missing = gauge("missing_events", "Accepted events that are nowhere.", "agent", "stage")
        self._overdue = gauge("overdue_events", "Accepted longer ago than promised, not handled.", "agent", "stage")
        self._ranges = gauge("unaccounted_ranges", "Ranges of offsets without a ledger entry.", "agent")
        self._miscounts = gauge("miscounts", "Ledger entries that differ from rows or log.", "agent")
        self._values = gauge("value_differences", "Rows or entries with another amount than accepted.", "agent")
        self.last_verified = gauge("last_verified_timestamp_seconds", "When the newest minutes were looked at.")
        self.whole_verified = gauge(
            "whole_verified_timestamp_seconds", "All that the log holds was looked at since; 0: not yet."
        )
        self.verify_seconds = Histogram(
            "bems_ledger_verify_seconds", "One look.", buckets=LATENCY_BUCKETS, registry=registry
        )

    def events(self, agent: str, stage: str, missing: int, overdue: int) -> None:
        """What one agent lacks of one stage."""
        self._missing.labels(agent, stage).set(missing)
        self._overdue.labels(agent, stage).set(overdue)

    def account(self, agent: str, *, unaccounted_ranges: int, miscounts: int, value_differences: int) -> None:
        """What is wrong with one agent's account."""
        self._ranges.labels(agent).set(unaccounted_ranges)
        self._miscounts.labels(agent).set(miscounts)
        self._values.labels(agent).set(value_differences)
