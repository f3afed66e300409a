"""The catalogue: what topics.yaml may say, what is refused, and what follows from it."""

import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bems_streams.catalogue.names import MAX_TOPIC_NAME
from bems_streams.domain.accounting import decode_account, decode_audit
from bems_streams.domain.event import MAX_EVENT_BYTES, Event, parse_event
from bems_streams.domain.views import decode_alert, decode_status
from bems_streams.topics import (
    PAYLOAD_TYPES,
    Catalogue,
    CatalogueError,
    Overrides,
    TopicKind,
    default_catalogue_path,
    load_catalogue,
    payload_schema,
)

SHIPPED = Path(__file__).parents[2] / "topics.yaml"
Document = dict[str, Any]


@pytest.fixture
def catalogue() -> Catalogue:
    """The catalogue that ships."""
    return load_catalogue(SHIPPED)


@pytest.fixture
def document() -> Document:
    """The shipped file as plain values, to be changed."""
    value: Document = yaml.safe_load(SHIPPED.read_text())
    return value


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Document], Catalogue]:
    """Write a document to a file and load it."""

    def write_and_load(document: Document) -> Catalogue:
        path = tmp_path / "topics.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return load_catalogue(path)

    return write_and_load


def problems_of(load: Callable[[Document], Catalogue], document: Document) -> dict[str, str]:
    """What is wrong, by place."""
    with pytest.raises(CatalogueError) as raised:
        load(document)
    return {problem.path: problem.message for problem in raised.value.problems}


# ------------------------------------------------------------------------------------------------ what follows


def test_the_shipped_catalogue_has_the_four_stages_in_order(catalogue: Catalogue) -> None:
    """Ingestion, reconciliation, authorization, posting: each with its topic."""
    assert dict(catalogue.stage_topics) == {
        "ingestion": "invoices.ingestion",
        "reconciliation": "invoices.reconciliation",
        "authorization": "invoices.authorization",
        "posting": "invoices.posting",
    }
    assert list(catalogue.stage_topics) == list(catalogue.journey().names)
    assert catalogue.stage_of("invoices.posting") == "posting"
    assert catalogue.stage_of("invoices.status") is None


def test_stuck_limits_are_divided_by_the_time_scale(catalogue: Catalogue) -> None:
    """A day of the catalogue is a second at a scale of 86,400; the closing stage has no limit at any scale."""
    real, scaled = catalogue.journey(), catalogue.journey(86_400)
    assert real.by_name["ingestion"].stuck_after_us == 86_400_000_000
    assert scaled.by_name["ingestion"].stuck_after_us == 1_000_000
    assert scaled.final.stuck_after_us is None


def test_an_extreme_time_scale_leaves_a_limit(catalogue: Catalogue) -> None:
    """A limit never becomes zero, which would mean stuck on arrival."""
    assert catalogue.journey(1e30).by_name["ingestion"].stuck_after_us == 1


def test_every_agent_has_a_dead_letter_topic_for_each_topic_it_reads(catalogue: Catalogue) -> None:
    """Nothing an agent reads is without a place for what it cannot handle."""
    by_name = {spec.name: spec for spec in catalogue.topics()}
    for agent in catalogue.agents:
        for topic in catalogue.reads(agent):
            assert by_name[catalogue.dead_letter_topic(topic, agent)].kind is TopicKind.DEAD_LETTER
    assert catalogue.dead_letter_topic("invoices.posting", "sink") == "invoices.posting.sink.dlq"


def test_every_agent_has_a_lane_for_each_wait_of_its_schedule_and_one_for_redriven_records(
    catalogue: Catalogue,
) -> None:
    """Named after the agent and the place in its schedule, in its order; a lane per wait, not per topic it reads."""
    assert catalogue.retry_waits("sink") == (timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=10))
    assert catalogue.lanes("sink") == (
        "invoices.sink.retry-1",
        "invoices.sink.retry-2",
        "invoices.sink.retry-3",
        "invoices.sink.late",
        "invoices.sink.redrive",
    )
    assert catalogue.retry_topics("sink") == catalogue.lanes("sink")[:3]
    assert (catalogue.late_topic("sink"), catalogue.redrive_topic("sink")) == catalogue.lanes("sink")[3:]
    lanes = {spec.name for spec in catalogue.topics() if spec.kind is TopicKind.LANE}
    assert lanes == {lane for agent in catalogue.agents for lane in catalogue.lanes(agent)}


def test_only_an_agent_whose_store_takes_late_events_otherwise_has_a_late_lane(
    document: Document, load: Callable[[Document], Catalogue]
) -> None:
    """Without it, nothing names a topic that the cluster lacks."""
    del document["agents"]["sink"]["late"]
    catalogue = load(document)
    assert catalogue.late_topic("sink") is None
    assert not [spec.name for spec in catalogue.topics() if spec.name.endswith(".late")]


def test_the_ledger_and_the_audit_have_a_topic_each(catalogue: Catalogue) -> None:
    """Agents without a store account there; what commands changed is written there, and kept for years."""
    by_name = {spec.name: spec for spec in catalogue.topics()}
    assert (catalogue.ledger_topic, catalogue.audit_topic) == ("invoices.ledger", "invoices.audit")
    assert {by_name[name].kind for name in ("invoices.ledger", "invoices.audit")} == {TopicKind.STREAM}
    assert catalogue.ledger_topic in catalogue.reads("sink")
    kept = {name: int(spec.config.get("retention.ms", 0)) for name, spec in by_name.items()}
    assert kept["invoices.ledger"] >= kept["invoices.ingestion"]
    assert kept["invoices.audit"] == 3650 * 86_400_000


def test_an_agent_with_state_has_a_compacted_changelog(catalogue: Catalogue) -> None:
    """State is rebuilt from the newest record per invoice, and deletions stay readable for weeks."""
    by_name = {spec.name: spec for spec in catalogue.topics()}
    changelog = by_name[catalogue.changelog_topic("tracker")]
    assert changelog.name == "invoices.tracker.changelog"
    assert changelog.kind is TopicKind.CHANGELOG
    assert changelog.config["cleanup.policy"] == "compact"
    assert "retention.ms" not in changelog.config
    assert int(changelog.config["delete.retention.ms"]) >= timedelta(days=7) / timedelta(milliseconds=1)
    assert [spec for spec in catalogue.topics() if spec.kind is TopicKind.CHANGELOG] == [changelog]


def test_every_topic_of_the_cell_has_the_same_number_of_partitions(catalogue: Catalogue) -> None:
    """An invoice has one partition number in all topics."""
    assert {spec.partitions for spec in catalogue.topics()} == {catalogue.partitions}


def test_raw_topics_keep_every_event_by_its_arrival_time(catalogue: Catalogue) -> None:
    """Never compacted, retention by the broker's clock, no size limit."""
    raw = [spec for spec in catalogue.topics() if spec.kind is TopicKind.STAGE]
    assert [spec.name for spec in raw] == list(catalogue.stage_topics.values())
    for spec in raw:
        assert spec.config["cleanup.policy"] == "delete"
        assert spec.config["message.timestamp.type"] == "LogAppendTime"
        assert spec.config["retention.ms"] == str(30 * 86_400_000)
        assert spec.config["retention.bytes"] == "-1"


def test_every_topic_prefers_durability_to_availability(catalogue: Catalogue) -> None:
    """No unclean election; record times are the broker's; batches as producers compressed them."""
    for spec in catalogue.topics():
        assert spec.config["unclean.leader.election.enable"] == "false"
        assert spec.config["message.timestamp.type"] == "LogAppendTime"
        assert spec.config["compression.type"] == "producer"
        assert spec.config["min.insync.replicas"] == str(catalogue.min_insync_replicas)


def test_a_dead_letter_topic_takes_the_largest_raw_record_with_its_headers(catalogue: Catalogue) -> None:
    """What a raw topic accepted can always be put aside; the raw topic takes the largest event."""
    limits = {spec.name: int(spec.config["max.message.bytes"]) for spec in catalogue.topics()}
    raw = limits["invoices.ingestion"]
    assert raw > 16 * MAX_EVENT_BYTES
    assert limits["invoices.ingestion.sink.dlq"] >= raw + MAX_EVENT_BYTES
    for lane in catalogue.lanes("sink"):
        assert limits[lane] >= raw + MAX_EVENT_BYTES


def test_a_record_in_repair_outlives_the_topic_it_came_from(catalogue: Catalogue) -> None:
    """Lanes and dead-letter topics keep records at least as long as raw topics."""
    kept = {spec.name: int(spec.config.get("retention.ms", 0)) for spec in catalogue.topics()}
    raw = max(kept[topic] for topic in catalogue.stage_topics.values())
    for agent in catalogue.agents:
        assert all(kept[lane] >= raw > 0 for lane in catalogue.lanes(agent))
    assert kept["invoices.ingestion.tracker.dlq"] == 365 * 86_400_000


def test_a_new_stage_shows_up_everywhere(document: Document, load: Callable[[Document], Catalogue]) -> None:
    """One entry in the file: journey, stage topic, dead letters of every reader, and the order; lanes are there."""
    document["stages"].insert(3, {"name": "payment", "code": 9, "stuck_after": "2d"})
    before, after = load_catalogue(SHIPPED), load(document)
    assert after.journey().names == ("ingestion", "reconciliation", "authorization", "payment", "posting")
    assert after.journey().by_name["payment"].stuck_after_us == 2 * 86_400_000_000
    assert after.stage_of("invoices.payment") == "payment"
    assert "invoices.payment" in after.reads("tracker")
    added = {spec.name for spec in after.topics()} - {spec.name for spec in before.topics()}
    assert added == {
        "invoices.payment",
        "invoices.payment.tracker.dlq",
        "invoices.payment.sink.dlq",
    }


def test_an_agent_without_a_schedule_has_no_retry_topics(
    document: Document, load: Callable[[Document], Catalogue]
) -> None:
    """Its failures go straight to the dead letters; what is redriven still has a way back."""
    del document["agents"]["sink"]["retry"]
    catalogue = load(document)
    assert catalogue.retry_topics("sink") == ()
    names = {spec.name for spec in catalogue.topics()}
    assert not [name for name in names if name.startswith("invoices.sink.retry")]
    assert {catalogue.dead_letter_topic("invoices.posting", "sink"), "invoices.sink.redrive"} <= names


def test_a_longer_schedule_adds_one_lane(document: Document, load: Callable[[Document], Catalogue]) -> None:
    """One more wait in the list; those before it keep their names."""
    document["agents"]["sink"]["retry"].append("1h")
    before, after = load_catalogue(SHIPPED), load(document)
    added = {spec.name for spec in after.topics()} - {spec.name for spec in before.topics()}
    assert added == {"invoices.sink.retry-4"}
    assert after.retry_topics("sink")[:3] == before.retry_topics("sink")


@pytest.mark.parametrize(
    ("ask", "advice"),
    [
        (lambda c: c.dead_letter_topic("invoices.alerts", "tracker"), "add it to the consumers"),
        (lambda c: c.dead_letter_topic("invoices.ingestion", "nobody"), "it has tracker, sink"),
        (lambda c: c.reads("nobody"), "it has tracker, sink"),
        (lambda c: c.changelog_topic("sink"), "state: true"),
        (lambda c: c.retry_topics("nobody"), "it has tracker, sink"),
        (lambda c: c.late_topic("nobody"), "it has tracker, sink"),
        (lambda c: c.redrive_topic("nobody"), "it has tracker, sink"),
        (lambda c: c.lanes("nobody"), "it has tracker, sink"),
    ],
)
def test_asking_for_a_topic_that_does_not_exist_says_what_to_write(
    catalogue: Catalogue, ask: Callable[[Catalogue], object], advice: str
) -> None:
    """A lane that the cluster lacks is never named: publishing to it would fail at the worst moment."""
    with pytest.raises(LookupError, match=advice):
        ask(catalogue)


def test_names_of_topics_once_made_are_recognised(catalogue: Catalogue) -> None:
    """Topics of a removed stage or agent are ours; other teams' topics are not."""
    ours = (
        *("invoices.approval", "invoices.approval.sink.dlq", "invoices.alerts.old.dlq", "invoices.old.changelog"),
        *("invoices.sink.retry-4", "invoices.old.retry-10", "invoices.old.late", "invoices.old.redrive"),
    )
    others = (
        *("sub.finance", "invoices", "invoices.a.b", "my.invoices.status", "__consumer_offsets", "old.changelog"),
        *("invoices.sink.retry", "invoices.sink.retry-", "invoices.sink.retry-x", "invoices.status.late.later"),
        *("invoices.alerts.sink.retry-1", "old.redrive"),
    )
    assert [name for name in (*ours, *others) if catalogue.could_have_made(name)] == list(ours)
    assert all(catalogue.could_have_made(spec.name) for spec in catalogue.topics())


# -------------------------------------------------------------------------------------------------- overrides


def test_a_cluster_may_have_other_numbers_than_the_file() -> None:
    """Partitions, replication and minimum in-sync come from outside where given."""
    catalogue = load_catalogue(SHIPPED, Overrides(partitions=6, replication=3, min_insync_replicas=2))
    for spec in catalogue.topics():
        assert (spec.partitions, spec.replication, spec.config["min.insync.replicas"]) == (6, 3, "2")


def test_overrides_are_checked_like_the_file() -> None:
    """A bad override is named as one, without a line of the file that does not have it."""
    with pytest.raises(CatalogueError) as raised:
        load_catalogue(SHIPPED, Overrides(partitions=100, min_insync_replicas=2))
    assert [(problem.path, problem.line) for problem in raised.value.problems] == [
        ("min_insync_replicas (overridden)", 0),
        ("partitions (overridden)", 0),
    ]


# --------------------------------------------------------------------------------------------------- payloads


@pytest.mark.parametrize("payload", PAYLOAD_TYPES)
def test_an_example_shows_every_field(catalogue: Catalogue, payload: str) -> None:
    """Whoever subscribes sees all there can be."""
    shown = set(catalogue.payloads[payload].example)
    assert shown == {field.name for field in msgspec.structs.fields(PAYLOAD_TYPES[payload])}


def test_the_examples_are_read_by_the_code_that_reads_records(catalogue: Catalogue) -> None:
    """By the same functions, so that the file cannot promise what the code does not keep."""
    raw = {name: msgspec.json.encode(payload.example) for name, payload in catalogue.payloads.items()}
    assert isinstance(parse_event(raw["event"]), Event)
    assert decode_status(raw["status"]).stage in catalogue.stage_topics
    assert decode_alert(raw["alert"]).moved_to in catalogue.stage_topics
    assert decode_account(raw["account"]).agent in catalogue.agents
    assert decode_audit(raw["audit"]).agent in catalogue.agents


def test_the_schema_of_an_event_comes_from_the_type_that_decodes_it() -> None:
    """Every field, the required ones, nothing else allowed; patterns are what JSON Schema can read."""
    definition = payload_schema("event")["$defs"]["Event"]
    assert set(definition["properties"]) == {field.name for field in msgspec.structs.fields(Event)}
    assert set(definition["required"]) == {field.name for field in msgspec.structs.fields(Event) if field.required}
    assert definition["additionalProperties"] is False
    assert definition["properties"]["event_id"]["pattern"] == "^[^\\x00-\\x1f\\x7f]+$"


@pytest.mark.parametrize("payload", PAYLOAD_TYPES)
def test_every_payload_has_a_schema(payload: str) -> None:
    """A subscriber can generate a reader from it: all fields, no pattern that only Python understands."""
    schema = payload_schema(payload)
    definition = schema["$defs"][PAYLOAD_TYPES[payload].__name__]
    assert set(definition["properties"]) == {field.name for field in msgspec.structs.fields(PAYLOAD_TYPES[payload])}
    assert "\\Z" not in str(schema)


# ---------------------------------------------------------------------------------------------------- refusals


def put(document: Document, path: str, value: object) -> None:
    """Set a value; path parts are separated by `/`, numbers are places in a list."""
    *parents, last = path.split("/")
    node: Any = document
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = value


RAW = "topics/invoices.{stage}"
REFUSALS = [
    ("partitions", 0, "partitions", "greater than or equal to 1"),
    ("partitions", 100, "partitions", "less than or equal to 99"),
    ("partitions", "12", "partitions", "valid integer"),
    ("colour", "red", "colour", "unknown key"),
    (f"{RAW}/colour", "red", "topics.invoices.{stage}.colour", "unknown key"),
    ("stages", [], "stages", "at least one"),
    ("stages/3/stuck_after", "1d", "stages.3.stuck_after", "closes the invoice"),
    ("stages/1/name", "ingestion", "stages.1.name", "taken by stages.0"),
    ("stages/1/name", "No Good", "stages.1.name", "pattern"),
    ("stages/1/code", 1, "stages.1.code", "taken by stages.0"),
    ("stages/1/code", 0, "stages.1.code", "greater than or equal to 1"),
    ("stages/1/code", 256, "stages.1.code", "less than or equal to 255"),
    ("stages/1/stuck_after", "5 days", "stages.1.stuck_after", "not a duration"),
    ("stages/1/stuck_after", "0d", "stages.1.stuck_after", "above 0"),
    ("stages/1/name", "status", "topics.invoices.status", "so does another entry"),
    ("min_insync_replicas", 2, "min_insync_replicas", "no write could ever succeed"),
    ("replication", 3, "min_insync_replicas", "one broker only"),
    ("agents/sink/retry", ["1m", "5s"], "agents.sink.retry", "reorder"),
    ("agents/sink/retry", ["5s", "soon"], "agents.sink.retry.1", "not a duration"),
    ("agents/sink/retry", ["5s", "40d"], "agents.sink.retry", "waits longer"),
    ("others/sink", "Twice.", "others.sink", "an agent already"),
    (f"{RAW}/cleanup", "compact", "topics.invoices.{stage}.cleanup", "use delete"),
    (f"{RAW}/timestamp", "create", "topics.invoices.{stage}.timestamp", "use log-append"),
    (f"{RAW}/retention", None, "topics.invoices.{stage}.retention", "say how long"),
    (f"{RAW}/producers", ["nobody"], "topics.invoices.{stage}.producers.0", "neither in"),
    (f"{RAW}/producers", [], "topics.invoices.{stage}.producers", "at least one"),
    (f"{RAW}/consumers", ["sink", "nobody"], "topics.invoices.{stage}.consumers.1", "neither in"),
    (f"{RAW}/consumers", ["sink", "sink"], "topics.invoices.{stage}.consumers.1", "named twice"),
    ("topics/invoices.status/retention", "30d", "topics.invoices.status.retention", "remove this"),
    ("topics/invoices.status/payload", "mystery", "topics.invoices.status.payload", "not described"),
    ("topics/invoices.status/payload", "alert", "topics.invoices.alerts.payload", "has its place in"),
    ("topics/invoices.status/payload", "event", "topics.invoices.status", "if, and only if"),
    ("derived/retry_retention", "29d", "derived.retry_retention", "raise it"),
    ("derived/dead_letter_retention", "1d", "derived.dead_letter_retention", "raise it"),
    ("payloads/event/example/colour", "red", "payloads.event.example.colour", "unknown field"),
    ("payloads/status/example/revision", "3", "payloads.status.example", "Expected `int`, got `str` - at `$.revision`"),
    ("payloads/alert/example/colour", "red", "payloads.alert.example.colour", "no field of this payload"),
    ("payloads/account/example/colour", "red", "payloads.account.example.colour", "no field of this payload"),
    (
        "payloads/audit/example/result",
        ["12"],
        "payloads.audit.example",
        "Expected `object`, got `array` - at `$.result`",
    ),
    ("payloads/alert/example/stage", "approval", "payloads.alert.example.stage", "not one of `stages`"),
    ("payloads/event/example/stage", "approval", "payloads.event.example.stage", "not one of `stages`"),
]


@pytest.mark.parametrize(("change", "value", "place", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_a_slip_is_refused_where_it_is(
    document: Document,
    load: Callable[[Document], Catalogue],
    change: str,
    value: object,
    place: str,
    message: str,
) -> None:
    """Each rule names the place and what to do."""
    put(document, change, value)
    assert message in problems_of(load, document)[place]


def test_a_topic_that_no_entry_carries_is_missed(document: Document, load: Callable[[Document], Catalogue]) -> None:
    """Without a status topic nobody could read states."""
    del document["topics"]["invoices.status"]
    assert problems_of(load, document) == {"topics": "no topic carries payload 'status'; add one"}


@pytest.mark.parametrize("name", ["invoices status", "ü", "x" * 250, "."])
def test_a_name_that_kafka_refuses_is_refused(
    document: Document, load: Callable[[Document], Catalogue], name: str
) -> None:
    """Found when the file is read, not when the topic is made."""
    document["topics"][name] = document["topics"].pop("invoices.alerts")
    assert "no legal topic name" in problems_of(load, document)[f"topics.{name}"]


def test_a_name_that_becomes_too_long_with_its_dead_letters_is_refused(
    document: Document, load: Callable[[Document], Catalogue]
) -> None:
    """The derived dead-letter topic counts."""
    name = "x" * 241
    document["topics"][name] = document["topics"].pop("invoices.alerts")
    problems = problems_of(load, document)
    assert set(problems) == {f"topics.{name}"}
    assert f"{name}.sink.dlq" in problems[f"topics.{name}"]


@pytest.mark.parametrize("lane", ["retry-1", "late", "redrive"])
def test_a_name_that_becomes_too_long_with_a_lane_is_refused(
    document: Document, load: Callable[[Document], Catalogue], lane: str
) -> None:
    """Named at the agent whose lane it is, although the agent reads nothing."""
    # given a name for stage topics that is one letter too long for this lane of an agent with a long name
    agent = "a" * 63
    too_long = f"{'x' * (MAX_TOPIC_NAME + 1 - len(f'.{agent}.{lane}'))}.{agent}.{lane}"
    document["agents"][agent] = {"summary": "Stores.", "retry": ["5s"], "late": True}
    template = too_long.partition(".")[0] + ".{stage}"
    document["topics"] = {template if "{" in name else name: topic for name, topic in document["topics"].items()}
    # when
    with pytest.raises(CatalogueError) as raised:
        load(document)
    # then
    named = [problem.message for problem in raised.value.problems if problem.path == f"agents.{agent}"]
    assert any(too_long in message and "no legal topic name" in message for message in named)
    assert all(problem.path == f"agents.{agent}" for problem in raised.value.problems)


def test_all_problems_are_listed_at_once_with_their_lines(tmp_path: Path) -> None:
    """Slips in form and breaches between entries, in the order of the file, even when they meet in one entry."""
    path = tmp_path / "topics.yaml"
    path.write_text(
        textwrap.dedent("""\
            partitions: 120
            replication: 1
            min_insync_replicas: 2
            stages:
              - {name: ingestion, code: 1, stuck_after: 1 day}
              - {name: posting, code: 1}
            agents:
              sink: {summary: Stores., retry: [5s]}
              sink: {summary: Again.}
            others: {gateway: Accepts.}
            topics:
              invoices.{stage}:
                summary: Events.
                key: invoice_id
                payload: event
                timestamp: create
                cleanup: never
                producers: [gateway]
                consumers: [sink, tracker]
            derived: {retry_retention: 30d, dead_letter_retention: 365d}
            payloads: {event: {summary: One., example: {}}}
            """)
    )
    with pytest.raises(CatalogueError) as raised:
        load_catalogue(path)
    found = [(problem.line, problem.path) for problem in raised.value.problems]
    assert found == sorted(found, key=lambda place: place[0])
    assert {
        (1, "partitions"),
        (3, "min_insync_replicas"),
        (5, "stages.0.stuck_after"),
        (6, "stages.1.code"),
        (9, "agents.sink"),
        (11, "topics"),
        (16, "topics.invoices.{stage}.timestamp"),
        (17, "topics.invoices.{stage}.cleanup"),
        (19, "topics.invoices.{stage}.consumers.1"),
        (20, "derived.tombstone_retention"),
        (21, "payloads.event.example.event_id"),
    } <= set(found)
    assert str(path) in str(raised.value)
    assert "line 9: agents.sink: written twice (lines 8 and 9)" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "not readable as YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("plain", "must be a mapping"),
        ("a: &loop [*loop]", "not readable as YAML"),
        ("\x00", "not readable as YAML"),
        ("", "partitions: missing"),
        ("stages: 5\nagents: x\ntopics: [1]\npayloads: null\n", "stages: Input should be a valid"),
        ("stages: [5, null, [x]]\nagents: {a: null, 3: b}\ntopics: {t: [], u: {payload: []}}\n", "topics.u.payload"),
    ],
)
def test_a_file_of_another_shape_is_refused_without_a_crash(tmp_path: Path, text: str, message: str) -> None:
    """Whatever the file holds, the answer is a list of problems."""
    path = tmp_path / "topics.yaml"
    path.write_text(text)
    with pytest.raises(CatalogueError) as raised:
        load_catalogue(path)
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the way to name another."""
    with pytest.raises(CatalogueError, match="BEMS_CATALOGUE"):
        load_catalogue(tmp_path / "nowhere.yaml")


def test_the_file_in_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the one that came with the package or lies beside it."""
    monkeypatch.chdir(tmp_path)
    assert load_catalogue().stage_topics == load_catalogue(SHIPPED).stage_topics
    (tmp_path / "topics.yaml").write_text(SHIPPED.read_text())
    assert default_catalogue_path().resolve() == tmp_path / "topics.yaml"
