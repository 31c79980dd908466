from __future__ import annotations

import pytest

from visionseg.contract.vocabulary import (
    Reduction,
    closest_noun,
    known_nouns,
    lexicon,
    reduce_phrase,
    split_concepts,
)


@pytest.mark.parametrize(
    ("phrase", "nouns", "ignored"),
    [
        ("dog", ("dog",), ()),
        ("the running dog", ("dog",), ("running",)),
        ("奔跑的狗", ("dog",), ("奔跑",)),
        ("一只黑色的小猫", ("cat",), ("黑色",)),
        ("red 汽车", ("car",), ("red",)),
        ("Persons", ("person",), ()),
        ("people", ("person",), ()),
        ("a sofa", ("couch",), ()),
        ("kitties", ("cat",), ()),
        ("knives", ("knife",), ()),
        ("buses", ("bus",), ()),
        ("cell-phones", ("cell phone",), ()),
        ("the man's bike", ("bicycle",), ("man",)),
        ("cat and dog", ("cat", "dog"), ()),
        ("猫和狗", ("cat", "dog"), ()),
        ("猫狗", ("cat", "dog"), ()),
        ("ＤＯＧ", ("dog",), ()),
    ],
)
def test_a_phrase_is_reduced_to_the_nouns_it_holds(
    phrase: str, nouns: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    assert reduce_phrase(phrase) == Reduction(nouns, ignored)


@pytest.mark.parametrize(
    ("phrase", "nouns"),
    [
        ("hot dog", ("hot dog",)),
        ("hot dogs", ("hot dog",)),
        ("热狗", ("hot dog",)),
        ("teddy bear", ("teddy bear",)),
        ("traffic lights", ("traffic light",)),
        ("wine glass", ("wine glass",)),
        ("斑马", ("zebra",)),
        ("公交车", ("bus",)),
    ],
)
def test_the_longest_term_wins(phrase: str, nouns: tuple[str, ...]) -> None:
    assert reduce_phrase(phrase).nouns == nouns


@pytest.mark.parametrize(
    ("phrase", "nouns"), [("bus driver", ("person",)), ("an orange car", ("car",))]
)
def test_only_the_last_noun_of_a_compound_counts(phrase: str, nouns: tuple[str, ...]) -> None:
    assert reduce_phrase(phrase).nouns == nouns


@pytest.mark.parametrize(
    "phrase", ["unicorn", "机器人", "dog house", "熊猫", "", "  ", "1234", "？"]
)
def test_a_phrase_without_a_known_noun_holds_none(phrase: str) -> None:
    assert reduce_phrase(phrase).nouns == ()


def test_a_group_word_holds_several_nouns() -> None:
    assert {"cat", "dog"} <= set(reduce_phrase("animals").nouns)
    assert reduce_phrase("动物") == reduce_phrase("animal")


@pytest.mark.parametrize(
    ("phrase", "noun"),
    [("dogg", "dog"), ("bycicle", "bicycle"), ("a persn", "person"), ("the sofaa", "couch")],
)
def test_a_misspelt_word_finds_its_noun(phrase: str, noun: str) -> None:
    assert closest_noun(phrase) == noun


def test_a_word_like_no_other_has_no_close_noun() -> None:
    assert closest_noun("xyzzyq") is None


def test_commas_of_all_kinds_part_concepts_and_each_counts_once() -> None:
    prompt = " dog, the  big bus，狗、猫,, dog；红绿灯\n"
    assert split_concepts(prompt) == ("dog", "the big bus", "狗", "猫", "红绿灯")
    assert split_concepts(" ,，、") == ()


def test_there_are_80_nouns_and_each_is_known_by_its_own_name_in_singular_and_plural() -> None:
    assert len(known_nouns()) == 80
    for noun in known_nouns():
        assert reduce_phrase(noun).nouns == (noun,)
        assert reduce_phrase(f"the {noun}s").nouns == (noun,)


def test_every_noun_has_a_chinese_word() -> None:
    chinese = {nouns for term, nouns in lexicon().terms.items() if not term.isascii()}
    assert {(noun,) for noun in known_nouns()} <= chinese


def test_every_term_finds_its_own_nouns() -> None:
    for term, nouns in lexicon().terms.items():
        assert reduce_phrase(term).nouns == nouns, term
