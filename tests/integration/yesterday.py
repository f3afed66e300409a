"""The program as it was yesterday: its agents refuse every event with the attribute `new`. Run it like `bems`.

Not here: anything of today.
"""

from bems_streams.cli.main import main
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.failures import InvalidEvent, Poison, Problem
from bems_streams.flows import decode


def parse_as_yesterday(raw: bytes) -> Event | Poison:
    """Today's parser, and what yesterday's did not know."""
    event = parse_event(raw)
    if isinstance(event, Event) and "new" in (event.attributes or {}):
        return InvalidEvent((Problem("attributes.new", "unknown"),))
    return event


if __name__ == "__main__":
    setattr(decode, "parse_event", parse_as_yesterday)  # noqa: B010  # mypy: the module does not export it
    main()
