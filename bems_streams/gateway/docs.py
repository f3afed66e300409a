"""The gateway's documentation page: one self-contained HTML text made from the OpenAPI document.

Not here: what the API is (openapi.py).
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from bems_streams.gateway.openapi import RECEIPT_PATH
from bems_streams.gateway.problems import Kind

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem}h2{font-size:1.25rem;margin-top:2.2rem}
code,pre{font:14px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:1rem;overflow:auto;border-radius:6px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;
border-bottom:1px solid var(--line)}:target{background:#fc03}
"""
_ADVICE: Final[Mapping[Kind, str]] = {
    Kind.INVALID_EVENT: "Correct every field that <code>problems</code> names; none of this event was kept.",
    Kind.INVALID_BODY: "Send one JSON object, or an array with at least one; check that it is complete.",
    Kind.INVALID_RECEIPT: "Copy the whole <code>receipt</code> of the answer 202.",
    Kind.INVALID_HEADER: "Correct the header that <code>detail</code> names, or leave it out.",
    Kind.UNKNOWN_STAGE: "Use one of the addresses above.",
    Kind.UNKNOWN_RECEIPT: "Check it against the answer 202; <code>detail</code> says what is known of that place.",
    Kind.OTHER_CELL: "Ask a gateway of the cell that the receipt begins with.",
    Kind.NOT_FOUND: "Use one of the addresses above.",
    Kind.METHOD: "Use the method that the <code>Allow</code> header names.",
    Kind.SLOW_BODY: "Send it again, faster or in smaller parts.",
    Kind.BODY_TOO_LARGE: "Split it.",
    Kind.BATCH_TOO_LARGE: "Split it.",
    Kind.MEDIA_TYPE: "Send <code>Content-Type: application/json</code>, plain or with gzip.",
    Kind.BUSY: "Wait as long as <code>Retry-After</code> says and send the same events again.",
    Kind.INTERNAL: "Send the same events again; report the correlation id if it persists.",
    Kind.UNAVAILABLE: "Wait as long as <code>Retry-After</code> says and send the same events again: "
    "the same <code>event_id</code> counts once.",
    Kind.UNRESOLVED: "Ask again after <code>Retry-After</code>: store or log are away, the event is not in doubt.",
}


def docs_page(document: Mapping[str, Any]) -> str:
    """HTML that needs nothing else: no script, no external file."""
    title = escape(document["info"]["title"])
    return "".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>',
            f"<h1>{title} <small>{escape(document['info']['version'])}</small></h1>",
            f"<p>{escape(document['info']['description'])} Machine-readable: ",
            '<a href="/openapi.json">/openapi.json</a>. State: <a href="/readyz">/readyz</a>, ',
            '<a href="/healthz">/healthz</a>, <a href="/metrics">/metrics</a>.</p>',
            *_addresses(document["paths"]),
            *_fields(document["components"]["schemas"]["Event"]),
            *_answers(),
        ]
    )


def _addresses(paths: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Addresses</h2><table>"
    for path, operations in paths.items():
        for method, operation in operations.items():
            yield f"<tr><td><code>{method.upper()} {escape(path)}</code><td>{escape(operation['summary'])}"
    yield "</table>"
    path, operations = next(iter(paths.items()))
    post = operations["post"]
    body = json.dumps(post["requestBody"]["content"]["application/json"]["example"], indent=2)
    yield f"<p>{escape(post['description'])}</p><h2>Try it</h2><pre>"
    yield escape(f"curl -i \"$GATEWAY{path}\" -H 'Content-Type: application/json' -d '{body}'")
    yield f"</pre><p>{escape(paths[RECEIPT_PATH]['get']['description'])}</p><pre>"
    receipt = paths[RECEIPT_PATH]["get"]["parameters"][0]["example"]
    yield escape(f'curl -i "$GATEWAY{RECEIPT_PATH.replace("{receipt}", receipt)}"')
    yield "</pre>"


def _fields(event: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Fields of an event</h2><table><tr><th>Field<th>Needed<th>What it is"
    for name, schema in event["properties"].items():
        needed = "yes" if name in event["required"] else "no"
        yield f"<tr><td><code>{escape(name)}</code><td>{needed}<td>{escape(_kind(schema))}"
    yield "</table><p>Other fields are refused; put extra facts into <code>attributes</code>.</p>"


def _kind(schema: Mapping[str, Any]) -> str:
    shape = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    if shape["type"] == "object":
        return f"object of at most {shape['maxProperties']} texts"
    types = [shape["type"]] if isinstance(shape["type"], str) else shape["type"]
    words = [str(shape.get("format", " or ".join(types)))]
    if "maxLength" in shape:
        words.append(f"{shape.get('minLength', 0)} to {shape['maxLength']} characters")
    if "pattern" in shape:
        words.append(f"pattern {shape['pattern']}")
    return ", ".join(words)


def _answers() -> Iterator[str]:
    yield "<h2>Answers</h2><table><tr><th>Status<th>Meaning<th>What to do"
    yield "<tr><td>200<td>How the event of a receipt stands<td>Read <code>state</code> and <code>detail</code>."
    yield "<tr><td>202<td>Every event is durable; here are the receipts<td>Keep them if you like to audit."
    yield "<tr><td>207<td>An array of which only some events are durable<td>Look at each item's status."
    for kind in Kind:
        yield f'<tr id="{kind.slug}"><td>{kind.status}<td>{escape(kind.title)}<td>{_ADVICE[kind]}'
    yield "</table>"
