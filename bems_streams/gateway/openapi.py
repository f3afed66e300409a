"""The gateway's OpenAPI document, made from the types that decode and encode, so that it cannot disagree with them.

Not here: how it is shown (docs.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from bems_streams.domain.standing import Standing
from bems_streams.gateway.limits import Limits
from bems_streams.gateway.lookup import RECEIPTS
from bems_streams.gateway.problems import PROBLEM_TYPE, Kind, ProblemDocument
from bems_streams.gateway.receipts import JSON_TYPE, BatchReport, Receipt
from bems_streams.topics import payload_schema

EXAMPLE: Final[Mapping[str, Any]] = {
    "event_id": "erp-2025-000123-7",
    "source": "erp-emea",
    "occurred_at": "2025-11-03T10:15:00+01:00",
    "invoice_id": "INV-2025-000123",
    "payee_code": "P-4711",
    "legal_entity_id": "DE01",
    "invoice_date": "2025-10-30",
    "invoice_due_date": "2025-12-29",
    "invoice_amount": "1249.90",
    "currency": "EUR",
    "activity": "Vendor creates invoice",
}
RECEIPT_PATH: Final = f"{RECEIPTS}{{receipt}}"
OF_RECEIPTS: Final = (Kind.INVALID_RECEIPT, Kind.UNKNOWN_RECEIPT, Kind.OTHER_CELL, Kind.UNRESOLVED)
OF_BOTH: Final = (Kind.BUSY, Kind.INTERNAL)
_REF: Final = "#/components/schemas/"
_JSON: Final = JSON_TYPE.decode()
_PROBLEM: Final = PROBLEM_TYPE.decode()


def openapi(stages: Sequence[str], limits: Limits, version: str) -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "BEMS gateway",
            "version": version,
            "description": "Takes invoice events and answers once they are durable. 202 carries a receipt per event.",
        },
        "paths": {
            **{f"/v1/{stage}/events": {"post": _post(stage, limits)} for stage in stages},
            RECEIPT_PATH: {"get": _get_receipt(stages[0])},
        },
        "components": {"schemas": _schemas()},
    }


def _post(stage: str, limits: Limits) -> dict[str, Any]:
    event = {"$ref": f"{_REF}Event"}
    batch = {"type": "array", "items": event, "minItems": 1, "maxItems": limits.batch_events}
    return {
        "operationId": f"post_{stage}_events",
        "summary": f"Events of stage {stage}: one object, or an array of at most {limits.batch_events}",
        "description": (
            f"A body has at most {limits.body_bytes} bytes, after decompression; Content-Encoding: gzip is possible. "
            "Sending the same event_id again is always safe: it counts once."
        ),
        "parameters": [
            {
                "name": "X-Correlation-Id",
                "in": "header",
                "required": False,
                "description": "Follows the events through the cell; made up when absent. The answer carries it.",
                "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"oneOf": [event, batch]}, "example": example(stage)}},
        },
        "responses": _responses(),
    }


def _get_receipt(stage: str) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": _response("How the event stands now.", _JSON, {"$ref": f"{_REF}Standing"}),
    }
    _add_problems(responses, [*OF_RECEIPTS, *OF_BOTH])
    return {
        "operationId": "get_receipt",
        "summary": "What became of an accepted event, by its receipt",
        "description": (
            "Every receipt of a 202 resolves. state is accepted (durable, not handled yet), stored, duplicate "
            "(duplicate_of is the receipt that counts), retrying, dead_lettered, or missing, which must never happen."
        ),
        "parameters": [
            {
                "name": "receipt",
                "in": "path",
                "required": True,
                "description": "cell/topic/partition/offset, as the 202 gave it; slashes as they are or as %2F.",
                "schema": {"type": "string"},
                "example": f"local-1/invoices.{stage}/4/1202",
            }
        ],
        "responses": responses,
    }


def example(stage: str) -> dict[str, Any]:
    """An event that the gateway accepts for this stage."""
    return {**EXAMPLE, "stage": stage}


def _responses() -> dict[str, Any]:
    report = {"$ref": f"{_REF}BatchReport"}
    receipt_or_report = {"oneOf": [{"$ref": f"{_REF}Receipt"}, report]}
    responses: dict[str, Any] = {
        "202": _response("All events are durable.", _JSON, receipt_or_report),
        "207": _response("An array of which some events are durable; see each item.", _JSON, report),
    }
    _add_problems(responses, [kind for kind in Kind if kind not in OF_RECEIPTS])
    for status in ("400", "503"):  # for an array, each item says what is wrong with it
        responses[status]["content"][_JSON] = {"schema": report}
    return responses


def _add_problems(responses: dict[str, Any], kinds: Sequence[Kind]) -> None:
    for kind in kinds:
        known = responses.get(str(kind.status))
        title = f"{known['description']} / {kind.title}" if known else kind.title
        responses[str(kind.status)] = _response(title, _PROBLEM, {"$ref": f"{_REF}ProblemDocument"})


def _response(description: str, media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _schemas() -> dict[str, Any]:
    _, ours = msgspec.json.schema_components([Receipt, ProblemDocument, Standing], ref_template=f"{_REF}{{name}}")
    event: dict[str, Any] = payload_schema("event")["$defs"]["Event"]
    return {"Event": event, **ours, "BatchReport": _batch_report()}


def _batch_report() -> dict[str, Any]:
    """By hand, because msgspec describes no union of untagged structs."""
    item = {"oneOf": [{"$ref": f"{_REF}Receipt"}, {"$ref": f"{_REF}ProblemDocument"}]}
    items = {"type": "array", "items": item}
    names = [field.name for field in msgspec.structs.fields(BatchReport)]
    return {
        "type": "object",
        "description": "One item per event sent, in the same order, each with its own status.",
        "properties": {name: items if name == "items" else {"type": "integer", "minimum": 0} for name in names},
        "required": names,
    }
