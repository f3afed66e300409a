"""The gateway's cold routes: documentation that agrees with the code, health, metrics."""

from typing import Any

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
    assert set(api.json["paths"]) == {f"/v1/{stage}/events" for stage in STAGE_TOPICS}
    assert (await bench.send(method="DELETE", path="/docs")).headers["allow"] == "GET, HEAD"


async def test_every_problem_type_is_explained_where_its_uri_points() -> None:
    """A type URI that leads nowhere would be worse than none."""
    bench = Bench()
    docs = (await bench.send(method="GET", path="/docs")).body.decode()
    replies = [await bench.send(b"{}"), await bench.send(b"[]"), await bench.send(path="/v1/x/events")]

    for reply in replies:
        anchor = reply.json["type"].removeprefix("/docs#")
        assert f'id="{anchor}"' in docs


async def test_the_documents_own_example_is_accepted() -> None:
    """Somebody will paste it."""
    bench = Bench()
    api = (await bench.send(method="GET", path="/openapi.json")).json

    for path, operations in api["paths"].items():
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
    assert "#/components/schemas/Event" in references(api)
