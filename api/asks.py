"""Reading a submission: bytes, then JSON, then the contract; each step refuses in its own code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.fields import field_problems
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.inputs import Terms

Body = TypeVar("Body", bound=Terms)
Body_co = TypeVar("Body_co", bound=Terms, covariant=True)
DEEPEST = 32
MOST_MARKS = 100_000
"""Brackets, braces and commas in a body: a bound on the memory that its parts take."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[Body_co]):
    """A body that keeps the contract, and its `input` as the client wrote it."""

    submission: Body_co
    given_input: Mapping[str, Any]


async def submission(request: Request, limit_bytes: int, model: type[Body]) -> Asked[Body]:
    """The submission in the body.

    Raises `Refusal`: unsupported_media_type, payload_too_large, invalid_json, invalid_input.
    """
    _refuse_other_types(request)
    body = await _read(request, limit_bytes)
    return await run_in_threadpool(_parse, body, model)


def _refuse_other_types(request: Request) -> None:
    content_type = request.headers.get("content-type", "application/json")
    media_type = content_type.partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if not is_json or "content-encoding" in request.headers:
        raise Refusal(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as `Content-Type: application/json`, without a content encoding.",
            detail_zh="请以 `Content-Type: application/json` 发送请求体，且不要使用内容编码。",
        )


async def _read(request: Request, limit_bytes: int) -> bytearray:
    """The body; one that is too large is refused by its header, or as soon as it shows."""
    if int(request.headers.get("content-length", 0)) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return body


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal(
        ErrorCode.PAYLOAD_TOO_LARGE,
        f"A body holds at most {limit_bytes} bytes; send a URL of the picture or video instead.",
        detail_zh=f"请求体最多 {limit_bytes} 字节；请改为发送图片或视频的 URL。",
    )


def _parse(body: bytearray, model: type[Body]) -> Asked[Body]:
    data = _json_object(body)
    if problems := tuple(_bad_strings(data, "", DEEPEST)):
        raise Refusal(ErrorCode.INVALID_INPUT, problems=problems)
    try:
        return Asked(model.model_validate(data), data["input"])
    except ValidationError as error:
        problems = field_problems(error, model)
        raise Refusal(ErrorCode.INVALID_INPUT, problems=problems) from None


def _json_object(body: bytearray) -> dict[str, Any]:
    if sum(map(body.count, (b"[", b"{", b","))) > MOST_MARKS:
        raise Refusal(ErrorCode.INVALID_JSON, "The body has too many values.")
    try:
        data = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        # A decoding error would repeat the whole body.
        why = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise Refusal(ErrorCode.INVALID_JSON, f"The body is not JSON: {why}.") from None
    if not isinstance(data, dict):
        raise Refusal(ErrorCode.INVALID_JSON)
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _too_deep() -> Refusal:
    return Refusal(ErrorCode.INVALID_JSON, f"The body is nested more than {DEEPEST} levels deep.")


def _bad_strings(value: object, pointer: str, levels_left: int) -> Iterator[Problem]:
    """The strings that no database keeps. Raises `Refusal` where the nesting is too deep."""
    if isinstance(value, str):
        if fault := _fault(value):
            yield Problem(pointer, fault)
        return
    if isinstance(value, dict):
        items = [(str(key), one) for key, one in value.items()]
        if any(map(_fault, value)):
            yield Problem(pointer, "a name holds a character that text cannot hold")
            return
    elif isinstance(value, list):
        items = [(str(place), one) for place, one in enumerate(value)]
    else:
        return
    if not levels_left:
        raise _too_deep()
    for name, one in items:
        yield from _bad_strings(one, f"{pointer}/{name}", levels_left - 1)


def _fault(text: str) -> str | None:
    if "\0" in text:
        return "the text holds a NUL character"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text holds half of a surrogate pair"
    return None
