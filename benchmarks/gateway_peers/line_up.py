"""Who is measured: our gateway, the same work with FastAPI and aiokafka, and what bounds each of them.

Not here: starting them (servers.py), sending requests (http_load.py).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

GATEWAY: Final = "gateway"
PARSE_ONLY: Final = "parse only"
LIBRDKAFKA: Final = "bare ASGI + librdkafka"
FASTAPI_PARSE: Final = "fastapi, parse only"
FASTAPI: Final = "fastapi + aiokafka"


@dataclass(frozen=True, slots=True)
class Subject:
    """A server. `command` gets the broker's address and the interpreter that has the peers' packages.

    settings  what a reader must know to judge the figure
    """

    name: str
    measures: str
    command: Callable[[str, Path], Sequence[str]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def _gateway(bootstrap: str, _: Path) -> Sequence[str]:
    return (sys.executable, "-m", "bems_streams", "gateway", "--port", "0", "--bootstrap", bootstrap)


def _module(name: str, *options: str) -> Sequence[str]:
    return (sys.executable, "-m", name, *options)


def _fastapi(python: Path, *options: str) -> Sequence[str]:
    return (str(python), "benchmarks/gateway_peers/fastapi_app.py", *options)


DURABLE: Final = {"acks": "all", "idempotence": True}
SUBJECTS: Final = (
    Subject(
        PARSE_ONLY,
        "our parser in a bare ASGI handler on our server settings; nothing is durable",
        lambda bootstrap, python: _module("benchmarks.parse_only"),
    ),
    Subject(
        GATEWAY,
        "HTTP to receipts, all on: validation, limits, correlation ids, metrics, the broker's offset and time of each",
        _gateway,
        DURABLE,
    ),
    Subject(
        LIBRDKAFKA,
        "for orientation: our parser and librdkafka in a bare ASGI handler, without headers, limits and receipts",
        lambda bootstrap, python: _module("benchmarks.gateway_peers.librdkafka_app", "--bootstrap", bootstrap),
        DURABLE,
    ),
    Subject(
        FASTAPI_PARSE,
        "a pydantic model in a FastAPI route; nothing is durable",
        lambda bootstrap, python: _fastapi(python),
    ),
    Subject(
        FASTAPI,
        "a pydantic model in a FastAPI route, send_and_wait for each event, all events of a request at once",
        lambda bootstrap, python: _fastapi(python, "--bootstrap", bootstrap),
        DURABLE,
    ),
)
