"""The record's keys, the statuses, and the pages that list the errors, against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visionseg.contract.errors import ERRORS, ErrorCode, ErrorKind
from visionseg.contract.reply import Prediction, PredictionList
from visionseg.contract.status import FINAL, MOVES, OPEN, Status, sources

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"\| `(\w+)` \| (\d{3}) \| (.+?) \| (.+?) \|")
FIXED = "id status input output logs error metrics scores boxes"
ADDED = (
    "kind provider model version error_code created_at started_at completed_at progress queue "
    "artifacts warnings plan provenance rendered_from deadline released_at urls"
)
PARTS = {
    "progress": "frames_done frames_total fps eta_s stage",
    "queue": "position eta_s",
    "plan": "frames chunks output_bytes estimated_s queue_s refusal",
    "provenance": "input engines parameters frame_map",
    "artifacts": "name url content_type size_bytes sha256 expires_at",
    "urls": "get cancel events web preview",
}


FOR_OPERATORS = "organisation"


def test_the_record_has_the_keys_of_the_contract_and_no_other() -> None:
    assert set(Prediction.model_fields) == {*FIXED.split(), *ADDED.split(), FOR_OPERATORS}
    definitions = Prediction.model_json_schema()["$defs"]
    schemas = {
        "progress": definitions["Progress"],
        "queue": definitions["QueueState"],
        "plan": definitions["Plan"],
        "provenance": definitions["Provenance"],
        "artifacts": definitions["Artifact"],
        "urls": definitions["Urls"],
    }
    for name, keys in PARTS.items():
        assert list(schemas[name]["properties"]) == keys.split()
    assert list(PredictionList.model_fields) == ["results", "next", "previous"]


def test_there_are_five_statuses_and_final_ones_never_move() -> None:
    assert list(Status) == ["starting", "processing", "succeeded", "failed", "canceled"]
    assert OPEN == (Status.STARTING, Status.PROCESSING)
    assert set(FINAL) == set(Status) - set(OPEN)
    assert all(not MOVES[status] for status in FINAL)
    assert sources(Status.SUCCEEDED) == (Status.PROCESSING,)
    assert sources(Status.CANCELED) == OPEN


def _english(kind: ErrorKind) -> tuple[str, str]:
    return kind.title, kind.sentence


def _chinese(kind: ErrorKind) -> tuple[str, str]:
    return kind.title_zh, kind.sentence_zh


@pytest.mark.parametrize(("page", "words"), [("errors.md", _english), ("zh/errors.md", _chinese)])
def test_the_page_of_errors_says_what_the_code_says(page: str, words: object) -> None:
    rows = ROW.findall((DOCS / page).read_text(encoding="utf-8"))
    assert callable(words)
    told = [(code, int(status), title, sentence) for code, status, title, sentence in rows]
    assert told == [(code, kind.status, *words(kind)) for code, kind in ERRORS.items()]


def test_every_code_has_its_words() -> None:
    assert set(ERRORS) == set(ErrorCode)
    for kind in ERRORS.values():
        assert kind.sentence.endswith(".")
        assert kind.sentence_zh.endswith("。")
        assert 400 <= kind.status < 600
