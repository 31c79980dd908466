"""The documents as the tests read them: code blocks, headings, links and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
README_ZH = ROOT / "README.zh-CN.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
INLINE_CODE = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code and the language that stands at its fence."""

    language: str
    code: str


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [Block(*found.groups()) for found in FENCE.finditer(path.read_text(encoding="utf-8"))]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> list[tuple[int, str]]:
    """Level and words of each heading, in order."""
    return [(len(marks), words) for marks, words in HEADING.findall(prose(path))]


def links(path: Path) -> list[str]:
    """The targets of a document's links and pictures."""
    return LINK.findall(INLINE_CODE.sub("", prose(path)))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    plain = (re.sub(r"[^\w\- ]", "", words.lower()) for _, words in headings(path))
    return {words.strip().replace(" ", "-") for words in plain}


def rows(path: Path, first_cell: str) -> Iterator[list[str]]:
    """The rows of the table whose head begins with `first_cell`, as cells without back quotes."""
    lines = iter(prose(path).splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            next(lines)
            break
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]
