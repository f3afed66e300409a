"""`bems dlq show`: one dead letter, with everything that is known of it. Not here: its layout (dlq_screen.py)."""

import re
from typing import Any, Final

import click

from bems_streams.cli.dlq_json import export_object, place_text
from bems_streams.cli.dlq_options import Desk, desk
from bems_streams.cli.dlq_screen import WOULD, print_letter
from bems_streams.cli.event_json import encode
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.cli.screen import screen
from bems_streams.flows.dead_letters import DeadLetter, Filter, Letter
from bems_streams.flows.receipt import Receipt, parse_receipt
from bems_streams.flows.redrive.terms import MAX_REDRIVES
from bems_streams.ports import Coordinates, Extent

_PLACE: Final = re.compile(r"([a-zA-Z0-9._-]+)/(0|[1-9][0-9]{0,8})/(0|[1-9][0-9]{0,17})")


@click.command(name="show")
@click.argument("where_it_is", metavar="PLACE")
@click.option("--agent", help="Only this agent's dead letter of the record, such as sink.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead, every byte in base64.")
@ledger_options
def show(*, where_it_is: str, agent: str | None, as_json: bool, **where: Any) -> None:
    """Show a dead letter: why it died, what sending it again would do, its headers and its bytes.

    PLACE is a place in a dead-letter topic (topic/partition/offset, as `bems dlq list` shows it), the place of the
    original record, or its receipt (cell/topic/partition/offset).
    """
    at = _coordinates(where_it_is)
    with desk(**where) as opened:
        opened.check(Filter(agent=agent))
        found = _found(opened, at, agent)
        if not found:
            raise click.ClickException(
                f"no dead letter at {where_it_is}: copy the place from `bems dlq list`; `bems receipt` tells what "
                "became of an accepted event"
            )
        console = screen()
        for number, letter in enumerate(found):
            if as_json:
                click.echo(encode(export_object(letter, opened.settings.cell)))
                continue
            if number:
                console.rule()
            print_letter(console, letter, _outlook(opened, letter))


def _coordinates(text: str) -> Coordinates:
    place = _PLACE.fullmatch(text)
    if place is not None:
        return Coordinates(place[1], int(place[2]), int(place[3]))
    receipt = parse_receipt(text)
    if isinstance(receipt, Receipt):
        return receipt.at
    raise click.BadParameter(
        f"{text!r} is neither topic/partition/offset nor a receipt: copy it from `bems dlq list`", param_hint="PLACE"
    )


def _found(opened: Desk, at: Coordinates, agent: str | None) -> list[Letter]:
    """That one dead letter; or of an original record, the newest of each agent."""
    letters = opened.letters
    if at.topic in letters.sources:
        place = at.topic, at.partition
        return [*letters.read({place: Extent(at.offset, at.offset + 1)})] if place in letters.places() else []
    places = [place for place in letters.places(agent, at.topic) if place[1] == at.partition]
    extents = opened.log.extents(places) if places else {}
    newest: dict[str, Letter] = {}
    for letter in letters.read(extents):
        if isinstance(letter, DeadLetter) and letter.record.at == at:
            newest[letter.agent] = letter
    return [*newest.values()]


def _outlook(opened: Desk, letter: Letter) -> str:
    """What a redrive would do with it now."""
    if not isinstance(letter, DeadLetter):
        return "it cannot be sent: no agent wrote it, so nobody knows where it belongs"
    if not opened.reader.exists():
        return f"not known: there is no store at {opened.store_url}; name it with --state-dir or --store"
    if letter.agent not in opened.catalogue.agents:
        return f"it would not be sent: there is no agent {letter.agent}"
    newer = [one for one in _found(opened, letter.record.at, letter.agent) if one.at.offset > letter.at.offset]
    outlook = WOULD[opened.planner(letter.agent).judge(letter, MAX_REDRIVES)]
    return f"{outlook}; it died again since: {place_text(newer[0].at)}" if newer else outlook
