"""Headers that clients write in many ways: Prefer, Range, Accept-Language."""

from __future__ import annotations

import pytest

from api.languages import prefers_chinese
from api.preferences import Preference, parse
from api.ranges import asked_range
from visionseg.contract.errors import Refusal


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], None),
        ([""], None),
        (["respond-async"], Preference(0, "respond-async")),
        (["Respond-Async"], Preference(0, "respond-async")),
        (["handling=strict; x, respond-async;y=1"], Preference(0, "respond-async")),
        (["wait"], Preference(60, "wait=60")),
        (['wait=""'], Preference(60, "wait=60")),
        (["wait=5"], Preference(5, "wait=5")),
        (['WAIT="7"'], Preference(7, "wait=7")),
        (["wait = 7"], Preference(7, "wait=7")),
        (["wait=0"], Preference(0, "wait=0")),
        (["wait=301"], Preference(300, "wait=300")),
        (["wait=5, wait=9"], Preference(5, "wait=5")),
        (["respond-async", "wait=9"], Preference(9, "wait=9")),
        (["wait=soon"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=٣"], None),
        (["wait=" + "9" * 40], None),
        (["wait=soon, respond-async"], Preference(0, "respond-async")),
        (["respond-async=1"], None),
        (["return=minimal"], None),
    ],
)
def test_a_preference_is_read_as_rfc_7240_says(
    headers: list[str], wanted: Preference | None
) -> None:
    assert parse(headers) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-", (0, 9)),
        ("bytes=3-5", (3, 5)),
        ("bytes= 3-5 ", (3, 5)),
        ("bytes=3-99", (3, 9)),
        ("bytes=-4", (6, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=5-3", None),
        ("bytes=0-1, 3-4", None),
        ("bytes=٣-", None),
        ("pages=1-2", None),
    ],
)
def test_a_range_is_read_as_rfc_9110_says(
    header: str | None, wanted: tuple[int, int] | None
) -> None:
    assert asked_range(header, 10) == wanted


@pytest.mark.parametrize(
    ("header", "size_bytes"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=-1", 0)]
)
def test_a_range_outside_the_file_is_refused(header: str, size_bytes: int) -> None:
    with pytest.raises(Refusal) as caught:
        asked_range(header, size_bytes)
    assert caught.value.headers["Content-Range"] == f"bytes */{size_bytes}"


@pytest.mark.parametrize(
    ("header", "chinese"),
    [
        ("", False),
        ("en", False),
        ("zh", True),
        ("zh-CN", True),
        ("zh-Hant-TW, en;q=0.5", True),
        ("en, zh;q=0.9", False),
        ("zh;q=0.9, en;q=0.2", True),
        ("fr, zh;q=0.3", True),
        ("zh;q=0", False),
        ("*", False),
        ("zh, *", False),
        ("zh, *;q=0.5", True),
        ("zh;q=much", False),
    ],
)
def test_chinese_is_chosen_where_it_outranks_english(header: str, chinese: bool) -> None:
    assert prefers_chinese(header) is chinese
