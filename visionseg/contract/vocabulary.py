"""The nouns that the embedded model knows, and how a client's phrase is reduced to them."""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

_COMMAS = re.compile("[,;\uff0c\u3001\uff1b\n]")  # with the full-width and the ideographic ones
_WORDS = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+(?:['\u2019-][^\W_\u3400-\u9fff]+)*")
Piece = tuple[str, tuple[str, ...]]
"""A term or an unknown word of a phrase, with its nouns."""

_CLOSE = 0.6  # difflib's own default: below it two words look unrelated


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a phrase holds: the known nouns, and the words that will not be taken into account."""

    nouns: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Every known term with its nouns; a term that means something else has none.

    English terms are words joined by one space; Chinese terms are plain strings.
    """

    nouns: tuple[str, ...]
    terms: Mapping[str, tuple[str, ...]]
    small: frozenset[str]
    longest_words: int
    longest_characters: int


def known_nouns() -> tuple[str, ...]:
    """The 80 nouns, in COCO's order."""
    return lexicon().nouns


def split_concepts(prompt: str) -> tuple[str, ...]:
    """The concepts of a prompt, trimmed, each once: commas, 、 and semicolons part them."""
    parts = (" ".join(part.split()) for part in _COMMAS.split(prompt))
    return tuple(dict.fromkeys(part for part in parts if part))


def reduce_phrase(phrase: str) -> Reduction:
    """The known nouns that a phrase holds, longest terms first, and the words ignored.

    `the running dog` is dog and ignores `running`; `hot dog` is not dog; of a compound, such as
    `bus driver`, only the last noun counts. Without a known noun, `nouns` is empty.
    """
    pieces = list(_pieces(phrase))
    heads = [piece for piece, after in pairwise([*pieces, ("", ())]) if not _modifies(piece, after)]
    nouns = dict.fromkeys(noun for _, found in heads for noun in found)
    small = lexicon().small
    ignored = [
        term
        for term, found in pieces
        if term not in small and not (found and set(found) <= nouns.keys())
    ]
    return Reduction(tuple(nouns), tuple(dict.fromkeys(ignored)))


def closest_noun(phrase: str) -> str | None:
    """The noun whose name or synonym is spelt most like a word of the phrase, if any is close."""
    terms = lexicon().terms
    words = [_plain(phrase), *_WORDS.findall(_plain(phrase))]
    close = [
        (difflib.SequenceMatcher(None, word, term).ratio(), term)
        for word in words
        for term in difflib.get_close_matches(word, terms, n=1, cutoff=_CLOSE)
        if terms[term]
    ]
    return terms[max(close)[1]][0] if close else None


@cache
def lexicon() -> Lexicon:
    """The vocabulary, read from the file beside this module on first use."""
    text = files(__package__).joinpath("vocabulary.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    terms: dict[str, tuple[str, ...]] = {}
    for word in (*data["other"]["en"], *data["other"]["zh"]):
        terms.update(dict.fromkeys(_forms(word), ()))
    for noun, words in (*data["groups"].items(), *data["nouns"].items()):
        nouns = tuple(words.get("nouns", (noun,)))
        for word in (noun, *words["en"], *words["zh"]):
            terms.update(dict.fromkeys(_forms(word), nouns))
    return Lexicon(
        nouns=tuple(data["nouns"]),
        terms=terms,
        small=frozenset((*data["other"]["small_en"], *data["other"]["small_zh"])),
        longest_words=max(term.count(" ") + 1 for term in terms),
        longest_characters=max(len(term) for term in terms if not term.isascii()),
    )


def _modifies(piece: Piece, after: Piece) -> bool:
    """Whether a noun only describes the noun right after it, as English compounds do."""
    return bool(piece[1] and after[1]) and after[0].isascii()


def _plain(phrase: str) -> str:
    return unicodedata.normalize("NFKC", phrase).casefold().strip()


def _forms(term: str) -> Iterator[str]:
    yield term
    if not term.isascii():
        return
    yield term + "s"
    if term.endswith(("s", "x", "ch", "sh")):
        yield term + "es"
    if term.endswith("y"):
        yield term[:-1] + "ies"


def _pieces(phrase: str) -> Iterator[Piece]:
    """Each term or unknown word of a phrase, in order, with its nouns."""
    run: list[str] = []
    for word in _WORDS.findall(_plain(phrase)):
        if word.isascii() or not "\u3400" <= word[0] <= "\u9fff":
            run.append(word)
            continue
        yield from _english(run)
        run = []
        yield from _chinese(word)
    yield from _english(run)


def _english(words: list[str]) -> Iterator[Piece]:
    split = [part for word in words for part in _parted(word)]
    position = 0
    while position < len(split):
        spans = range(min(lexicon().longest_words, len(split) - position), 0, -1)
        candidates = (" ".join(split[position : position + span]) for span in spans)
        term = _first_known(candidates) or split[position]
        yield term, lexicon().terms.get(term, ())
        position += term.count(" ") + 1


def _parted(word: str) -> list[str]:
    """A hyphenated word in its parts, and a possessive without its ending."""
    return [part for part in re.split(r"[-'\u2019]", word) if part and part != "s"]


def _chinese(text: str) -> Iterator[Piece]:
    unknown = ""
    position = 0
    while position < len(text):
        spans = range(min(lexicon().longest_characters, len(text) - position), 0, -1)
        term = _first_known(text[position : position + span] for span in spans)
        small = term or _first_small(text[position : position + span] for span in spans)
        if small and unknown:
            yield unknown, ()
            unknown = ""
        if small:
            yield small, lexicon().terms.get(small, ())
        else:
            unknown += text[position]
        position += len(small or text[position])
    if unknown:
        yield unknown, ()


def _first_known(candidates: Iterable[str]) -> str | None:
    return next((term for term in candidates if term in lexicon().terms), None)


def _first_small(candidates: Iterable[str]) -> str | None:
    return next((term for term in candidates if term in lexicon().small), None)
