"""Example bodies of the submission routes, and where OpenAPI finds their schemas."""

from __future__ import annotations

from typing import Any

from visionseg.contract.inputs import DEFAULT_MODEL, DEFAULT_PROVIDER

SCHEMA = "#/components/schemas/{model}"
NAMES = {"provider": DEFAULT_PROVIDER, "model": DEFAULT_MODEL}
PICTURE = "https://example.com/street.jpg"
FILM = "https://example.com/street.mp4"

PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: answer at once; `wait=N`: hold for up to N s, at most 300",
    "schema": {"type": "string"},
}


def _example(summary: str, given_input: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "value": {**NAMES, "input": given_input}}


def _body(examples: dict[str, Any], *models: str) -> dict[str, Any]:
    schemas = [{"$ref": SCHEMA.format(model=model)} for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    content = {"schema": schema, "examples": examples}
    body = {"required": True, "content": {"application/json": content}}
    return {"requestBody": body, "parameters": [PREFER]}


IMAGE_BODY = _body(
    {
        "words": _example(
            "Every person and every dog", {"image": PICTURE, "prompt": "person, dog"}
        ),
        "click": _example(
            "The object at a pixel, painted",
            {
                "image": PICTURE,
                "point_prompts": [{"x": 320, "y": 240, "positive": True}],
                "return_zip": False,
            },
        ),
        "box": _example(
            "The object in a box, with its score",
            {
                "image": PICTURE,
                "box_prompts": [{"x_min": 40, "y_min": 60, "x_max": 400, "y_max": 300}],
                "include_scores": True,
            },
        ),
    },
    "ImageSubmission",
)
VIDEO_BODY = _body(
    {
        "painted": _example("Follow every car, as MP4", {"video": FILM, "prompt": "car"}),
        "masks": _example(
            "Every second frame of ten seconds, as masks",
            {
                "video": FILM,
                "prompt": "person",
                "output_format": "masks",
                "frame_stride": 2,
                "start_time": 5,
                "end_time": 15,
            },
        ),
    },
    "VideoSubmission",
)
RENDER_BODY = _body(
    {
        "painted": {
            "summary": "A video in red, half as fast",
            "value": {"input": {"output_format": "mp4", "mask_color": "red", "fps": 12.5}},
        },
        "masks": {"summary": "A video as masks", "value": {"input": {"output_format": "masks"}}},
        "picture": {"summary": "A picture's masks alone", "value": {"input": {"mask_only": True}}},
    },
    "VideoRender",
    "ImageRender",
)
