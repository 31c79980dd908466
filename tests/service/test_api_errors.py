"""Every error that a request can meet: status, code, form and language."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from httpx2 import Response
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import (
    AT_ONCE,
    IMAGE_BODY,
    PIXEL,
    PREDICTIONS,
    VIDEO,
    bearer,
    finish_next,
    with_limits,
)
from visionseg.access.scopes import Scope
from visionseg.contract.errors import ERRORS, ErrorCode
from visionseg.contract.reply import ProblemReply
from visionseg.predictions.installation import Installation

JSON = {"Content-Type": "application/json"}


def _must_refuse(reply: Response, code: ErrorCode) -> dict[str, Any]:
    problem: dict[str, Any] = reply.json()
    assert (reply.status_code, problem["code"]) == (ERRORS[code].status, code), reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert list(problem) == list(ProblemReply.model_fields)
    assert problem["request_id"] == reply.headers["x-request-id"]
    return problem


def _pointers(problem: dict[str, Any]) -> dict[str, str]:
    return {one["pointer"]: one["detail"] for one in problem["errors"]}


def test_a_problem_is_whole(client: TestClient) -> None:
    reply = client.get("/nothing/here?q=1", headers={"X-Request-Id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    assert reply.json() == {
        "type": "http://testserver/docs#error-not_found",
        "title": "Not found",
        "status": 404,
        "detail": "There is nothing at this address.",
        "instance": "/nothing/here",
        "code": "not_found",
        "request_id": "mine-1",
        "errors": [],
    }


def test_a_request_id_that_is_not_sane_is_replaced(client: TestClient) -> None:
    for given in ("", "a b", "x" * 129, "<script>"):
        reply = client.get("/healthz", headers={"X-Request-Id": given})
        assert re.fullmatch(r"req_[0-9a-f]{26}", reply.headers["x-request-id"])


def test_chinese_is_answered_in_chinese_with_the_same_code(client: TestClient) -> None:
    reply = client.get("/nothing", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    problem = _must_refuse(reply, ErrorCode.NOT_FOUND)
    assert (problem["title"], problem["detail"]) == ("未找到", "此地址没有任何内容。")
    assert reply.headers["content-language"] == "zh"
    english = client.get("/nothing", headers={"Accept-Language": "en,zh;q=0.9"})
    assert english.json()["title"] == "Not found"


def test_keys_are_asked_for_and_checked(
    installation: Installation, client: TestClient, make_key: Callable[..., str]
) -> None:
    for header in ("", "Bearer", "Bearer short", "Basic gk_0123456789abcdefgh", "gk_0123456789abc"):
        reply = client.get(PREDICTIONS, headers={"Authorization": header})
        _must_refuse(reply, ErrorCode.MISSING_API_KEY)
        assert reply.headers["www-authenticate"].startswith("Bearer")
    unknown = client.get(PREDICTIONS, headers=bearer("gk_0123456789abcdefgh"))
    _must_refuse(unknown, ErrorCode.INVALID_API_KEY)
    assert unknown.headers["www-authenticate"].startswith("Bearer")
    secret = make_key()
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE api_keys SET revoked_at = now()"))
    _must_refuse(client.get(PREDICTIONS, headers=bearer(secret)), ErrorCode.INVALID_API_KEY)


def test_a_scope_that_lacks_is_named_and_the_wildcard_holds_it(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    admin = bearer(make_key(scopes=(Scope.ADMIN,)))
    for method, address in (
        ("POST", PREDICTIONS),
        ("POST", VIDEO),
        ("DELETE", f"{PREDICTIONS}/vs_{'0' * 26}"),
        ("GET", "/v1/vision-segment/models"),
        ("POST", "/v1/files"),
    ):
        problem = _must_refuse(
            client.request(method, address, headers=admin), ErrorCode.INSUFFICIENT_SCOPE
        )
        assert "ai:vision-segment" in problem["detail"]
    every = bearer(make_key(scopes=(Scope.ALL_AI,)))
    assert client.get(PREDICTIONS, headers=every).status_code == 200


def test_a_key_in_the_query_string_opens_nothing(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    address = f"{PREDICTIONS}?api_key={make_key()}"
    reply = client.get(address, headers={"Authorization": ""})
    _must_refuse(reply, ErrorCode.MISSING_API_KEY)


def test_methods_that_an_address_does_not_take_are_405_with_allow(client: TestClient) -> None:
    for address, allowed in (
        (PREDICTIONS, "GET, POST"),
        (VIDEO, "POST"),
        (f"{PREDICTIONS}/vs_{'0' * 26}/cancel", "POST"),
        ("/api/vision-segment/outputs/a.png", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ):
        reply = client.put(address)
        _must_refuse(reply, ErrorCode.METHOD_NOT_ALLOWED)
        assert reply.headers["allow"] == allowed


def test_what_is_no_json_object_is_400(client: TestClient) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe{\x00}\x00",
        b'{"input": NaN}',
        b'{"input": ' + b"9" * 5000 + b"}",
        b'{"input":' + b"[" * 33 + b"]" * 33 + b"}",
        b"[" * 100_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"input": [' + b"1," * 100_001 + b"1]}",
    ):
        reply = client.post(PREDICTIONS, content=body, headers=JSON)
        _must_refuse(reply, ErrorCode.INVALID_JSON)
        assert len(reply.content) < 1000


def test_other_media_types_are_415(client: TestClient) -> None:
    body = b'{"input": {"image": "https://example.com/a.png"}}'
    for headers in (
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {**JSON, "Content-Encoding": "gzip"},
    ):
        reply = client.post(PREDICTIONS, content=body, headers=headers)
        _must_refuse(reply, ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    for good in ("application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON"):
        headers = {**AT_ONCE, "Content-Type": good}
        assert client.post(PREDICTIONS, content=body, headers=headers).status_code == 202


def test_data_that_is_no_picture_is_415(client: TestClient) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(b'#EXTM3U playlist').decode()}"
    reply = client.post(PREDICTIONS, json={"input": {"image": uri}})
    _must_refuse(reply, ErrorCode.UNSUPPORTED_MEDIA_TYPE)


def test_large_bodies_are_413_by_their_header_or_while_they_come(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    limited = with_limits(installation, body_bytes=1000, data_uri_bytes=50)
    with TestClient(create_app(limited), headers=bearer(make_key())) as client:
        told = client.post(PREDICTIONS, content=b" " * 1001, headers=JSON)
        _must_refuse(told, ErrorCode.PAYLOAD_TOO_LARGE)

        def pieces() -> Iterator[bytes]:
            yield from [b" " * 100] * 11

        untold = client.post(PREDICTIONS, content=pieces(), headers=JSON)
        _must_refuse(untold, ErrorCode.PAYLOAD_TOO_LARGE)
        uri = client.post(PREDICTIONS, json=IMAGE_BODY)
        _must_refuse(uri, ErrorCode.PAYLOAD_TOO_LARGE)


def test_every_field_at_fault_is_named(client: TestClient) -> None:
    given = {"image": PIXEL, "threshhold": 0.5, "point_prompts": [{"x": 1}], "mask_opacity": 2}
    reply = client.post(PREDICTIONS, json={"input": given, "modle": "x"})
    assert _pointers(_must_refuse(reply, ErrorCode.INVALID_INPUT)) == {
        "/input/threshhold": "There is no such field; did you mean `threshold`?",
        "/input/point_prompts/0/y": "Field required",
        "/input/mask_opacity": "Input should be less than or equal to 1",
        "/modle": "There is no such field; did you mean `model`?",
    }


def test_text_that_no_database_keeps_is_named(client: TestClient) -> None:
    body = (
        b'{"input": {"image": "https://example.com/a.png", "prompt": "a\\u0000b",'
        b' "box_prompts": [{"x\\ud800": 1}]}, "model": "\\udc00"}'
    )
    reply = client.post(PREDICTIONS, content=body, headers=JSON)
    assert _pointers(_must_refuse(reply, ErrorCode.INVALID_INPUT)) == {
        "/input/prompt": "the text holds a NUL character",
        "/input/box_prompts/0": "a name holds a character that text cannot hold",
        "/model": "the text holds half of a surrogate pair",
    }


def test_addresses_with_characters_that_no_name_has_are_404(client: TestClient) -> None:
    for address in (
        f"{PREDICTIONS}/vs_%00",
        f"{PREDICTIONS}/%ed%a0%80",
        "/api/vision-segment/outputs/a%00.png",
        "/api/vision-segment/outputs/..%2f..%2fetc%2fpasswd",
        f"{PREDICTIONS}/",
    ):
        _must_refuse(client.get(address), ErrorCode.NOT_FOUND)


def test_parameters_at_fault_are_named(client: TestClient) -> None:
    query = "limit=0&status=done&created_after=yesterday&model=a%00b"
    problem = _must_refuse(client.get(f"{PREDICTIONS}?{query}"), ErrorCode.INVALID_INPUT)
    assert set(_pointers(problem)) == {
        "/query/limit",
        "/query/status",
        "/query/created_after",
        "/query/model",
    }
    for cursor in ("x", "W10", "bnVsbA", "WzEsMSwxXQ"):
        problem = _must_refuse(
            client.get(f"{PREDICTIONS}?cursor={cursor}"), ErrorCode.INVALID_INPUT
        )
        assert set(_pointers(problem)) == {"/query/cursor"}


def test_names_and_words_that_are_not_served_are_422_with_their_codes(client: TestClient) -> None:
    given = {"image": PIXEL}
    for body, code in (
        ({"provider": "acme", "input": given}, ErrorCode.UNKNOWN_PROVIDER),
        ({"model": "acme/sam9", "input": given}, ErrorCode.UNKNOWN_MODEL),
        ({"input": {**given, "prompt": "quasar"}}, ErrorCode.UNSUPPORTED_PROMPT),
        ({"input": {"image": "http://example.com/a.png"}}, ErrorCode.INVALID_INPUT),
        ({"input": {"image": "https://10.0.0.1/a.png"}}, ErrorCode.INVALID_INPUT),
    ):
        _must_refuse(client.post(PREDICTIONS, json=body), code)


def test_a_model_without_weights_is_503(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    object.__setattr__(installation.settings.models, "embedded_fallback", False)
    with TestClient(create_app(installation), headers=bearer(make_key())) as client:
        reply = client.post(PREDICTIONS, json=IMAGE_BODY)
        _must_refuse(reply, ErrorCode.MODEL_UNAVAILABLE)
        assert reply.headers["retry-after"] == "300"


def test_a_full_queue_is_503_with_retry_after(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    full = with_limits(installation, queued_predictions=1)
    with TestClient(create_app(full), headers=bearer(make_key())) as client:
        assert client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).status_code == 202
        reply = client.post(PREDICTIONS, json=IMAGE_BODY)
        _must_refuse(reply, ErrorCode.QUEUE_FULL)
        assert int(reply.headers["retry-after"]) > 0


def test_deleted_files_are_410(client: TestClient, installation: Installation) -> None:
    client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    made = client.get(f"{PREDICTIONS}/{finish_next(installation)}").json()
    url = made["artifacts"][0]["url"]
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE files SET deleted_at = now()"))
    _must_refuse(client.get(url), ErrorCode.GONE)
    _must_refuse(client.post(PREDICTIONS, json={"input": {"image": url}}), ErrorCode.GONE)


def test_a_file_that_the_store_lost_is_503(client: TestClient, installation: Installation) -> None:
    client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    made = client.get(f"{PREDICTIONS}/{finish_next(installation)}").json()
    for path in installation.settings.storage.files.rglob("mask_000.png"):
        path.unlink()
    reply = client.get(made["artifacts"][0]["url"])
    _must_refuse(reply, ErrorCode.SERVICE_UNAVAILABLE)
    assert int(reply.headers["retry-after"]) > 0


def test_a_bug_is_told_as_internal_and_logged_whole_with_the_request_id(
    client: TestClient, installation: Installation
) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("ALTER TABLE files RENAME COLUMN name TO title"))
    merged = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(processors=merged) as lines:
        headers = {"X-Request-Id": "mine-2"}
        reply = client.get("/api/vision-segment/outputs/a.png", headers=headers)
    problem = _must_refuse(reply, ErrorCode.INTERNAL)
    assert problem["detail"] == ERRORS[ErrorCode.INTERNAL].sentence
    told = next(line for line in lines if line["event"] == "request_failed")
    assert (told["request_id"], told["exc_info"]) == ("mine-2", True)
