"""How words, clicks and boxes combine on one picture, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from visionseg.contract.errors import ErrorCode, Refusal
from workers.segmenters.base import Box, ImagePrompts, Point

UNNAMED = "object"
"""The label of an instance that was clicked or boxed, not named."""


class Found(Protocol):
    """An object found on a picture, in whatever form the model holds its mask."""

    def holds(self, point: Point) -> bool:
        """Whether the mask is true at the pixel of a click."""
        ...


F = TypeVar("F", bound=Found)
F_co = TypeVar("F_co", bound=Found, covariant=True)


class Finder(Protocol[F_co]):
    """What a model can find on one picture. Prompts given to it lie inside the picture."""

    def by_concepts(
        self, concepts: Sequence[str], exemplars: Sequence[Box], threshold: float
    ) -> Sequence[F_co]:
        """The instances of the concepts scoring `threshold` or more; exemplars show instances."""
        ...

    def by_box(self, box: Box, points: Sequence[Point]) -> F_co:
        """The best mask of the object in a box, refined by clicks inside it; never empty."""
        ...

    def by_points(self, points: Sequence[Point]) -> F_co:
        """The best mask of the one object that all positive clicks mean; never empty."""
        ...


def combine(finder: Finder[F], prompts: ImagePrompts) -> list[F]:
    """The objects that the prompts ask for together; `prompts` come out of `inside`.

    Concepts alone find every instance; boxes beside concepts are exemplars; points beside concepts
    keep the instances that hold a positive point and no negative one, and if none does, ask for the
    object at the points. Without a concept, each box is one object, refined by the points that it
    holds, and all other points together are one object. Negative points alone find nothing.
    """
    if not prompts.concepts:
        return _by_boxes(finder, prompts) + _by_free_points(finder, prompts)
    found = list(finder.by_concepts(prompts.concepts, prompts.boxes, prompts.threshold))
    if not prompts.points:
        return found
    return [one for one in found if _agrees(one, prompts.points)] or _by_points(
        finder, prompts.points
    )


def inside(prompts: ImagePrompts, height: int, width: int) -> ImagePrompts:
    """The prompts with boxes clipped to a picture of that size.

    Raises `Refusal` where a point lies outside it or a box does not touch it.
    """
    for point in prompts.points:
        check_point(point, height, width)
    return replace(prompts, boxes=tuple(clip_box(box, height, width) for box in prompts.boxes))


def check_point(point: Point, height: int, width: int) -> None:
    """Raises `Refusal` where a click is outside a picture of that size."""
    if not (0 <= point.x < width and 0 <= point.y < height):
        raise Refusal(
            ErrorCode.PROMPT_OUTSIDE,
            f"The point ({point.x:g}, {point.y:g}) lies outside the picture, which is "
            f"{width} x {height} pixels.",
            detail_zh=f"点 ({point.x:g}, {point.y:g}) 位于画面之外；画面为 {width} x {height} 像素。",  # noqa: E501 - a Chinese sentence
        )


def clip_box(box: Box, height: int, width: int) -> Box:
    """The part of a box inside a picture of that size; raises `Refusal` where there is none."""
    clipped = Box(
        max(0.0, box.x_min), max(0.0, box.y_min), min(width, box.x_max), min(height, box.y_max)
    )
    if clipped.x_min >= clipped.x_max or clipped.y_min >= clipped.y_max:
        corners = f"({box.x_min:g}, {box.y_min:g}, {box.x_max:g}, {box.y_max:g})"
        raise Refusal(
            ErrorCode.PROMPT_OUTSIDE,
            f"The box {corners} does not touch the picture, which is {width} x {height} pixels.",
            detail_zh=f"框 {corners} 与画面没有重叠；画面为 {width} x {height} 像素。",
        )
    return clipped


def assign_points(
    points: Sequence[Point], boxes: Sequence[Box]
) -> tuple[list[list[Point]], list[Point]]:
    """The points that each box holds, and the rest; a point in several is the smallest one's."""
    held: list[list[Point]] = [[] for _ in boxes]
    rest: list[Point] = []
    for point in points:
        around = [index for index, box in enumerate(boxes) if _contains(box, point)]
        smallest = min(around, key=lambda index: _area(boxes[index]), default=None)
        (rest if smallest is None else held[smallest]).append(point)
    return held, rest


def _by_boxes(finder: Finder[F], prompts: ImagePrompts) -> list[F]:
    held, _ = assign_points(prompts.points, prompts.boxes)
    return [finder.by_box(*pair) for pair in zip(prompts.boxes, held, strict=True)]


def _by_free_points(finder: Finder[F], prompts: ImagePrompts) -> list[F]:
    return _by_points(finder, assign_points(prompts.points, prompts.boxes)[1])


def _by_points(finder: Finder[F], points: Sequence[Point]) -> list[F]:
    return [finder.by_points(points)] if any(point.positive for point in points) else []


def _agrees(found: Found, points: Sequence[Point]) -> bool:
    positive = [point for point in points if point.positive]
    negative = [point for point in points if not point.positive]
    wanted = not positive or any(found.holds(point) for point in positive)
    return wanted and not any(found.holds(point) for point in negative)


def _contains(box: Box, point: Point) -> bool:
    return box.x_min <= point.x < box.x_max and box.y_min <= point.y < box.y_max


def _area(box: Box) -> float:
    return (box.x_max - box.x_min) * (box.y_max - box.y_min)
