"""The OpenAPI 3.1 document: routes, bodies, the record, and one shape for every error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.examples import SCHEMA
from api.problems import MEDIA_TYPE
from visionseg.contract.errors import ERRORS
from visionseg.contract.inputs import ImageRender, ImageSubmission, VideoRender, VideoSubmission
from visionseg.contract.reply import ProblemReply

TITLE = "visionseg"
SUMMARY = "Vision segmentation: words, clicks and boxes in, masks out"
PROBLEM = {
    "description": "A problem; `code` is one of the closed list in `x-error-codes`",
    "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMA.format(model="ProblemReply")}}},
}
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
SPOKEN: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    (ImageSubmission, "validation"),
    (VideoSubmission, "validation"),
    (ImageRender, "validation"),
    (VideoRender, "validation"),
    (ProblemReply, "serialization"),
]


def document(app: FastAPI) -> dict[str, Any]:
    """The document of the application's routes."""
    made = get_openapi(
        title=TITLE,
        version=app.version,
        summary=SUMMARY,
        openapi_version="3.1.0",
        routes=app.routes,
    )
    _, definitions = models_json_schema(SPOKEN, ref_template=SCHEMA)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    schemas.update(definitions["$defs"])
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = PROBLEM
    made["x-error-codes"] = [
        {"code": code, "status": kind.status, "title": kind.title, "sentence": kind.sentence}
        for code, kind in ERRORS.items()
    ]
    return made
