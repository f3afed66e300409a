"""The gateway's cold routes: documentation that agrees with the code, health, metrics."""

from typing import Any

from bems_streams.gateway.problems import Kind
from tests.unit.gateway_kit import STAGE_TOPICS, Bench, encoded, event


async def test_the_cold_routes_answer() -> None:
    """Documentation, health and metrics on the same port."""
    bench = Bench()
    await bench.send(encoded(event()))

    metrics = await bench.send(method="GET", path="/metrics")
    docs = await bench.send(method="GET", path="/docs")
    api = await bench.send(method="GET", path="/openapi.json")

    assert b'bems_gateway_events_total{outcome="accepted",stage="ingestion"} 1.0' in metrics.body
    assert (await bench.send(method="GET", path="/healthz")).json["status"] == "alive"
    assert docs.headers["content-type"].startswith("text/html")
    assert b"<script" not in docs.body
    entrances = {f"/v1/{stage}/events" for stage in STAGE_TOPICS}
    assert {path: set(methods) for path, methods in api.json["paths"].items()} == {
        **{path: {"post"} for path in entrances},
        "/v1/receipts/{receipt}": {"get"},
    }
    assert all(f"<code>POST {path}</code>".encode() in docs.body for path in entrances)
    assert b"<code>GET /v1/receipts/{receipt}</code>" in docs.body
    assert (await bench.send(method="DELETE", path="/docs")).headers["allow"] == "GET, HEAD"


async def test_every_problem_type_is_explained_where_its_uri_points() -> None:
    """A type URI that leads nowhere would be worse than none."""
    bench = Bench()
    docs = (await bench.send(method="GET", path="/docs")).body.decode()
    replies = [await bench.send(b"{}"), await bench.send(b"[]"), await bench.send(path="/v1/x/events")]

    for reply in replies:
        anchor = reply.json["type"].removeprefix("/docs#")
        assert f'id="{anchor}"' in docs
    assert all(f'id="{kind.slug}"' in docs for kind in Kind)


async def test_every_problem_belongs_to_the_addresses_that_can_answer_with_it() -> None:
    """A client that is generated from the document handles what can come, and nothing else."""
    paths = (await Bench().send(method="GET", path="/openapi.json")).json["paths"]

    receipt = paths["/v1/receipts/{receipt}"]["get"]["responses"]
    assert set(receipt) == {"200", "400", "404", "429", "500", "503"}
    told = receipt["404"]["description"] + receipt["503"]["description"] + receipt["400"]["description"]
    post = str(paths["/v1/posting/events"]["post"]["responses"])
    for kind in (Kind.INVALID_RECEIPT, Kind.UNKNOWN_RECEIPT, Kind.OTHER_CELL, Kind.UNRESOLVED):
        assert kind.title in told
        assert kind.title not in post
    for kind in (Kind.UNAVAILABLE, Kind.INVALID_EVENT, Kind.UNKNOWN_STAGE, Kind.BUSY):
        assert kind.title in post


async def test_the_documents_own_example_is_accepted() -> None:
    """Somebody will paste it."""
    bench = Bench()
    api = (await bench.send(method="GET", path="/openapi.json")).json

    for path, operations in api["paths"].items():
        if "post" not in operations:
            continue
        example = operations["post"]["requestBody"]["content"]["application/json"]["example"]
        assert (await bench.send(encoded(example), path=path)).status == 202


def references(node: Any) -> set[str]:
    """Every $ref below a node."""
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(references(child) for child in node))
    return set()


async def test_every_reference_of_the_openapi_document_resolves() -> None:
    """Generators of clients stop at the first that does not."""
    api = (await Bench().send(method="GET", path="/openapi.json")).json

    schemas = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    assert references(api) <= schemas
    assert {"#/components/schemas/Event", "#/components/schemas/Standing"} <= references(api)
