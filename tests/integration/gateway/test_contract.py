"""The contract: whatever is asked, the answer is one that the OpenAPI document has."""

from __future__ import annotations

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 25  # of each operation
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = "/v1/events"


def document_of(gateway: httpx.Client) -> dict[str, Any]:
    """The document, with the names of the models: by chance nobody would hit on one."""
    document: dict[str, Any] = gateway.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    upload = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]
    for schema in (schemas["OneJob"], schemas["ManyJobs"], upload["schema"]):
        schema["properties"]["model"] = {"enum": ["texts", "images", "unknown"]}
    return document


def test_no_request_is_answered_beyond_the_document(gateway: httpx.Client) -> None:
    schema = schemathesis.openapi.from_dict(document_of(gateway))
    schema.config.update(base_url=str(gateway.base_url))
    answers: dict[str, set[int]] = {}

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        if "wait" in (case.query or {}):
            case.query["wait"] = "0"
        response = case.call(timeout=20)
        case.validate_response(response, checks=CHECKS)
        answers.setdefault(case.operation.label, set()).add(response.status_code)

    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path != ENDLESS:
            given(operation.as_strategy())(ask)()
    assert {202, 422} <= answers["POST /v1/jobs"], answers
    assert {200, 422} <= answers["GET /v1/results"], answers
    assert 404 in answers["GET /v1/jobs/{id}"], answers
