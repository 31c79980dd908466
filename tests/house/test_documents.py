"""The documents agree with the code, with each other and with themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from click import Command, Group
from pydantic_settings import BaseSettings

from tests.documents import (
    README,
    README_ZH,
    ROOT,
    anchors,
    blocks,
    headings,
    links,
    prose,
    rows,
)
from visionseg.artifacts.weights import lock
from visionseg.commands.main import main
from visionseg.config import Settings
from visionseg.contract.models import MODELS
from visionseg.contract.reply import Prediction

TOP = ("README", "README.zh-CN", "CONTRIBUTING", "SECURITY", "CHANGELOG")
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in TOP),
    *sorted((ROOT / "changes").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
SECTIONS = ["Status", "Context", "Decision", "Consequences"]
TRANSLATED = (
    "benchmarks.md",
    "inputs.md",
    "models.md",
    "operating.md",
    "prompts.md",
    "sam3.md",
    "video.md",
    "webhooks.md",
)
PICTURE_LIMIT_BYTES = 450_000


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _variables(section: type[BaseSettings] = Settings) -> Iterator[tuple[str, str]]:
    """Each environment variable of the settings, and its default as one writes it."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseSettings):
            yield from _variables(kind)
            continue
        prefix = str(section.model_config["env_prefix"])
        yield field.alias or f"{prefix}{name}".upper(), _written(field.default)


def _written(value: object) -> str:
    if value is None or value == frozenset():
        return "[]" if value == frozenset() else ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_relative)
def test_every_link_inside_the_repository_leads_somewhere(path: Path) -> None:
    lost = []
    for link in links(path):
        target, anchor = urldefrag(link)
        if ":" in target:
            continue
        there = (path.parent / target).resolve() if target else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("path", [README, README_ZH], ids=_relative)
def test_the_settings_table_holds_every_setting_with_its_default(path: Path) -> None:
    first_cell = "Variable" if path == README else "变量"
    assert [(name, default) for name, default, _ in rows(path, first_cell)] == list(_variables())


def test_both_readmes_have_the_same_sections_and_the_same_code() -> None:
    assert [level for level, _ in headings(README)] == [level for level, _ in headings(README_ZH)]
    assert blocks(README) == blocks(README_ZH)


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_document_has_the_same_sections_and_the_same_code(name: str) -> None:
    english, chinese = ROOT / "docs" / name, ROOT / "docs" / "zh" / name
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(chinese)]
    assert blocks(english) == blocks(chinese)


@pytest.mark.parametrize(
    ("path", "first_cell", "yes", "no"),
    [("docs/models.md", "model", "yes", "no"), ("docs/zh/models.md", "模型", "是", "否")],
)
def test_the_table_of_models_tells_what_each_takes(
    path: str, first_cell: str, yes: str, no: str
) -> None:
    told = {name: cells for name, *cells in rows(ROOT / path, first_cell)}
    able = {
        card.name: (card.text, card.points, card.boxes, card.video, card.gated)
        for card in MODELS.values()
    }
    assert told == {name: [yes if one else no for one in all_] for name, all_ in able.items()}


FOR_OPERATORS = "organisation"


def test_the_readme_shows_a_record_with_every_key_in_its_order() -> None:
    (shown,) = [json.loads(block.code) for block in blocks(README) if block.language == "json"]
    assert list(shown) == [name for name in Prediction.model_fields if name != FOR_OPERATORS]
    assert Prediction.model_validate(shown).status == "succeeded"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_relative)
def test_the_commands_a_document_names_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"`([^`\n]+)`", prose(path)), *(b.code for b in blocks(path))])
    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    made = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert made <= set(targets)
    for words in re.findall(r"(?:^|\s)visionseg ([a-z0-9 -]+)", code, re.MULTILINE):
        _check_command(words)


def _check_command(words: str) -> None:
    command: Command = main
    for word in words.split():
        if not isinstance(command, Group):
            options = {option for parameter in command.params for option in parameter.opts}
            assert not word.startswith("-") or word in {*options, "--help"}, words
            continue
        assert word in command.commands, words
        command = command.commands[word]


@pytest.mark.parametrize("path", DECISIONS, ids=_relative)
def test_a_decision_record_has_its_number_and_its_parts(path: Path) -> None:
    (_, title), *parts = headings(path)
    number = path.name.split("-")[0]
    assert re.fullmatch(r"\d{4}", number)
    assert title.startswith(f"{number}. ")
    assert [words for _, words in parts] == SECTIONS


def test_decision_records_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name.split("-")[0]) for path in DECISIONS]
    assert numbers == list(range(1, len(DECISIONS) + 1))


def test_the_notice_names_every_file_that_is_taken_from_a_package() -> None:
    text = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for file in lock().values():
        assert file.name in text
        assert file.licence in text
        assert file.authors in text


def test_pictures_of_the_documents_are_small_and_shown() -> None:
    shown = {
        (path.parent / link).resolve()
        for path in DOCUMENTS
        for link in links(path)
        if link.endswith(".png")
    }
    pictures = set((ROOT / "docs" / "images").iterdir())
    assert pictures == shown
    assert max(path.stat().st_size for path in pictures) < PICTURE_LIMIT_BYTES
