"""The contract: what OpenAPI says beyond what the routes' own types do."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from labelmill.gateway.problems import MEDIA_TYPE
from labelmill.gateway.requests import MANY_EXAMPLE, ONE_EXAMPLE, ManyJobs, OneJob
from labelmill.gateway.schemas import ProblemOut

_WHY = {
    400: "Not a request.",
    401: "No token, or none that is known.",
    403: "The token has not the scope; or the request came from elsewhere.",
    404: "There is none of that id.",
    408: "The request took too long to arrive.",
    409: "The id, or the key, stands for something else.",
    413: "Too large.",
    415: "Neither JSON nor files; or a file is no image.",
    422: "It cannot be done as it was asked.",
    429: "Too much; `Retry-After` says when to ask again.",
    503: "Redis or the database is away; `Retry-After` says when to ask again.",
}

_, _schemas = models_json_schema(
    [(OneJob, "validation"), (ManyJobs, "validation")],
    ref_template="#/components/schemas/{model}",
)
REQUEST_SCHEMAS: dict[str, Any] = _schemas["$defs"]
"""The schemas that the body of a submission refers to."""

_UPLOAD = {
    "type": "object",
    "required": ["model", "file"],
    "properties": {
        "model": {"type": "string"},
        "run": {"type": "string", "minLength": 1, "maxLength": 255},
        "top_k": {"type": "integer", "minimum": 1, "maximum": 1000},
        "file": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": {"type": "string", "format": "binary"},
        },
    },
    "additionalProperties": False,
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, and those that all do."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    return {
        status: {"description": _WHY[status], "content": content}
        for status in sorted({401, 403, 422, 429, 503, *statuses})
    }


def submission_body() -> dict[str, Any]:
    """The body of ``POST /v1/jobs``, which is read by hand."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            {"$ref": "#/components/schemas/OneJob"},
                            {"$ref": "#/components/schemas/ManyJobs"},
                        ]
                    },
                    "examples": {
                        "one": {"value": ONE_EXAMPLE},
                        "many": {"value": MANY_EXAMPLE},
                    },
                },
                "multipart/form-data": {"schema": _UPLOAD},
            },
        }
    }


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add to a document what its routes refer to."""
    schemas = document["components"]["schemas"]
    schemas |= REQUEST_SCHEMAS
    schemas["ProblemOut"] = ProblemOut.model_json_schema()
    return document
