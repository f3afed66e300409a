"""The stages an invoice passes: order, lookups, and what happens when one is missing."""

import pytest

from bems_streams.domain.journey import Journey, Stage, StageCode, StageLostError, UnknownStageError

INGESTION = Stage("ingestion", StageCode(7), 100)
POSTING = Stage("posting", StageCode(2))
JOURNEY = Journey((INGESTION, POSTING))


def test_stages_are_found_by_name_and_by_code_and_know_their_place() -> None:
    """The place is the one in the catalogue, not the order of codes."""
    assert JOURNEY.names == ("ingestion", "posting")
    assert JOURNEY.by_name["posting"] is POSTING
    assert JOURNEY.by_code[7] is INGESTION
    assert (JOURNEY.rank[7], JOURNEY.rank[2]) == (0, 1)
    assert JOURNEY.final is POSTING


def test_a_name_that_no_stage_has_says_where_the_names_are() -> None:
    """The one who sends the event can act on it."""
    with pytest.raises(UnknownStageError, match=r"no stage is called 'payment'; topics\.yaml lists the stages"):
        JOURNEY.by_name["payment"]
    assert "payment" not in JOURNEY.by_name
    assert JOURNEY.by_name.get("payment") is None


def test_a_code_that_no_stage_has_says_how_to_go_on() -> None:
    """Whoever removed the stage learns which code to put back."""
    for lookup in (JOURNEY.by_code, JOURNEY.rank):
        with pytest.raises(StageLostError, match=r"code 9.*put the stage back with that code and start again"):
            lookup[9]


def test_journeys_with_the_same_stages_are_equal() -> None:
    """A journey is a value."""
    assert Journey((INGESTION, POSTING)) == JOURNEY
    assert Journey((POSTING, INGESTION)) != JOURNEY


@pytest.mark.parametrize(
    "stages",
    [
        (),
        (Stage("ingestion", StageCode(0)),),
        (INGESTION, Stage("posting", INGESTION.code)),
        (INGESTION, Stage(INGESTION.name, StageCode(3))),
    ],
)
def test_stages_that_cannot_be_told_apart_are_no_journey(stages: tuple[Stage, ...]) -> None:
    """Code 0 means "none" in stored state, and a code or name given twice would mix up two stages."""
    with pytest.raises(AssertionError, match="the catalogue checks names and codes"):
        Journey(stages)
