"""The rules are tried on pictures of coloured rectangles, where what is found is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from visionseg.contract.errors import ErrorCode, Refusal
from workers.segmenters.base import Box, ImagePrompts, Point
from workers.segmenters.combine import assign_points, clip_box, combine, inside

BIG = Box(0, 0, 60, 60)
SMALL = Box(10, 10, 30, 30)
FAR = Box(70, 70, 90, 90)


@dataclass(frozen=True)
class Rectangle:
    """An object found, and how it came to be found."""

    box: Box
    how: str
    points: tuple[Point, ...] = ()

    def holds(self, point: Point) -> bool:
        return self.box.x_min <= point.x < self.box.x_max and (
            self.box.y_min <= point.y < self.box.y_max
        )


@dataclass
class Rectangles:
    """Knows two squares, scoring 0.9 and 0.4."""

    asked: list[Sequence[Box]] = field(default_factory=list)

    def by_concepts(
        self, concepts: Sequence[str], exemplars: Sequence[Box], threshold: float
    ) -> list[Rectangle]:
        self.asked.append(exemplars)
        scored = ((SMALL, 0.9), (FAR, 0.4))
        return [Rectangle(box, concepts[0]) for box, score in scored if score >= threshold]

    def by_box(self, box: Box, points: Sequence[Point]) -> Rectangle:
        return Rectangle(box, "box", tuple(points))

    def by_points(self, points: Sequence[Point]) -> Rectangle:
        return Rectangle(Box(0, 0, 1, 1), "points", tuple(points))


def test_words_alone_find_every_instance_over_the_threshold() -> None:
    assert combine(Rectangles(), ImagePrompts(("square",))) == [Rectangle(SMALL, "square")]
    assert len(combine(Rectangles(), ImagePrompts(("square",), threshold=0.3))) == 2


def test_boxes_alone_are_one_object_each() -> None:
    found = combine(Rectangles(), ImagePrompts(boxes=(BIG, FAR)))
    assert found == [Rectangle(BIG, "box"), Rectangle(FAR, "box")]


def test_points_alone_are_one_object_together() -> None:
    points = (Point(5, 5), Point(80, 80), Point(1, 1, positive=False))
    found = combine(Rectangles(), ImagePrompts(points=points))
    assert found == [Rectangle(Box(0, 0, 1, 1), "points", points)]


def test_negative_points_alone_find_nothing() -> None:
    assert combine(Rectangles(), ImagePrompts(points=(Point(5, 5, positive=False),))) == []


def test_a_point_refines_the_smallest_box_that_holds_it() -> None:
    points = (Point(15, 15), Point(50, 50, positive=False))
    found = combine(Rectangles(), ImagePrompts(points=points, boxes=(BIG, SMALL)))
    assert found == [Rectangle(BIG, "box", points[1:]), Rectangle(SMALL, "box", points[:1])]


def test_points_outside_every_box_are_one_object_more() -> None:
    points = (Point(80, 80), Point(15, 15))
    found = combine(Rectangles(), ImagePrompts(points=points, boxes=(SMALL,)))
    assert found == [
        Rectangle(SMALL, "box", points[1:]),
        Rectangle(Box(0, 0, 1, 1), "points", points[:1]),
    ]


def test_boxes_beside_words_are_exemplars_and_no_objects_of_their_own() -> None:
    finder = Rectangles()
    found = combine(finder, ImagePrompts(("square",), boxes=(BIG,)))
    assert found == [Rectangle(SMALL, "square")]
    assert finder.asked == [(BIG,)]


def test_points_beside_words_keep_the_instances_they_agree_with() -> None:
    both = ImagePrompts(("square",), threshold=0.3, points=(Point(80, 80),))
    assert combine(Rectangles(), both) == [Rectangle(FAR, "square")]
    negative = ImagePrompts(("square",), threshold=0.3, points=(Point(80, 80, positive=False),))
    assert combine(Rectangles(), negative) == [Rectangle(SMALL, "square")]


def test_points_beside_words_that_hold_no_instance_ask_for_the_object_there() -> None:
    point = Point(65, 5)
    found = combine(Rectangles(), ImagePrompts(("square",), points=(point,)))
    assert found == [Rectangle(Box(0, 0, 1, 1), "points", (point,))]


def test_boxes_are_clipped_to_the_picture() -> None:
    prompts = ImagePrompts(boxes=(Box(-10, 5, 500, 50),))
    assert inside(prompts, 40, 100).boxes == (Box(0, 5, 100, 40),)


@pytest.mark.parametrize("point", [Point(100, 5), Point(5, 40), Point(-1, 5), Point(5, -0.1)])
def test_a_point_outside_the_picture_is_refused(point: Point) -> None:
    with pytest.raises(Refusal) as refused:
        inside(ImagePrompts(points=(point,)), 40, 100)
    assert refused.value.code is ErrorCode.PROMPT_OUTSIDE
    assert "100 x 40" in refused.value.detail


@pytest.mark.parametrize("box", [Box(100, 0, 120, 20), Box(-9, -9, 0, 9), Box(5, 50, 9, 60)])
def test_a_box_beside_the_picture_is_refused(box: Box) -> None:
    with pytest.raises(Refusal) as refused:
        clip_box(box, 40, 100)
    assert refused.value.code is ErrorCode.PROMPT_OUTSIDE


def test_each_point_belongs_to_one_box_at_most() -> None:
    held, rest = assign_points((Point(15, 15), Point(80, 80), Point(99, 1)), (BIG, SMALL, FAR))
    assert held == [[], [Point(15, 15)], [Point(80, 80)]]
    assert rest == [Point(99, 1)]
