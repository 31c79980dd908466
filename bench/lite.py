"""How good and how fast `embedded/lite` is on pictures and films whose truth is known exactly.

Run `visionseg weights fetch`, then `python -m bench.lite`. Every scene is composed of free stills:
a cut-out at some size and place before some backdrop.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import cos, pi, sin
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from visionseg.artifacts.weights import locate, names_of
from visionseg.config import Models
from workers.masks import Mask, decode
from workers.media.clips import SCRIPTS, Mover, Rgb, Script, compose
from workers.segmenters.base import (
    ImagePrompts,
    Instance,
    Point,
    SessionOptions,
    VideoPrompts,
)
from workers.segmenters.lite.regions import mask_box, mask_overlap
from workers.segmenters.lite.segmenter import LiteSegmenter

BACKDROPS = ("china.jpg", "flower.jpg", "coffee.png", "rocket.jpg", "camera.png")
HEIGHTS = (0.3, 0.5, 0.75)
PLACES = (0.25, 0.7)


@dataclass(frozen=True, slots=True)
class Scene:
    """A composed picture, what stands in it, and its exact mask."""

    picture: Rgb
    noun: str
    truth: Mask


def main() -> None:
    """Prints one table for pictures and one for films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=Models().cache)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, help="take every n-th scene only")
    asked = parser.parse_args()
    stills = {name: _load(asked.weights, name) for name in names_of("still")}
    segmenter = LiteSegmenter(asked.weights, asked.threads)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {asked.threads} threads")
    measure_pictures(segmenter, list(scenes(stills))[:: asked.every])
    measure_films(segmenter, stills)


def scenes(stills: dict[str, Rgb]) -> Iterator[Scene]:
    """Each cut-out at three sizes in two places before each backdrop that is not its own still."""
    cut_outs = [mover for script in SCRIPTS.values() for mover in script.movers]
    cut_outs = [cut_outs[0], cut_outs[1], _flower()]
    for mover, backdrop, height, place in product(cut_outs, BACKDROPS, HEIGHTS, PLACES):
        if backdrop == mover.still:
            continue
        top = 0.15 if mover.noun == "flower" else 1 - height
        placed = replace(mover, height=height, top=top, path=(place, place))
        picture, masks = next(compose(stills, Script(backdrop, (placed,)), 1))
        yield Scene(picture, mover.noun, masks[0])


def measure_pictures(segmenter: LiteSegmenter, pictures: Sequence[Scene]) -> None:
    """Prints how far the masks from a box, a click and a word overlap the truth."""
    print(f"\n{len(pictures)} composed pictures of 640 x 360")
    print(f"{'prompt':<18}{'mean IoU':>9}{'median':>8}{'> 0.5':>7}{'> 0.8':>7}{'ms':>6}")
    for name, prompt_of in (("box", box_prompt), ("click", click_prompt), ("word", word_prompt)):
        known = [scene for scene in pictures if name != "word" or scene.noun != "flower"]
        began = time.perf_counter()
        overlaps = [_best_overlap(segmenter, scene, prompt_of(scene)) for scene in known]
        _print_row(name, overlaps, (time.perf_counter() - began) * 1e3 / len(known))
        found = [overlap for overlap in overlaps if overlap > 0]
        if name == "word":
            _print_row(f"  where found ({len(found)})", found, 0)


def measure_films(segmenter: LiteSegmenter, stills: dict[str, Rgb], frames: int = 50) -> None:
    """Prints how far the followed masks overlap the truth, frame by frame, and whether ids stay."""
    print(f"\nfilms of {frames} frames of 640 x 360, not encoded")
    print(f"{'film':<22}{'object':<10}{'mean IoU':>9}{'least':>7}{'ids':>5}{'ms a frame':>12}")
    for name, script in SCRIPTS.items():
        nouns = tuple(mover.noun for mover in script.movers)
        session = segmenter.open_session(VideoPrompts(nouns), SessionOptions())
        spent, rows = 0.0, []
        for picture, masks in compose(stills, script, frames):
            began = time.perf_counter()
            (result,) = session.step([picture], lambda: False)
            spent += time.perf_counter() - began
            rows.append(
                [_follow(result.instances, *pair) for pair in zip(nouns, masks, strict=True)]
            )
        for column, noun in enumerate(nouns):
            overlaps = [row[column][0] for row in rows]
            ids = {row[column][1] for row in rows} - {0}
            print(
                f"{name:<22}{noun:<10}{np.mean(overlaps):>9.3f}{min(overlaps):>7.2f}"
                f"{len(ids):>5}{spent * 1e3 / frames:>12.0f}"
            )


def box_prompt(scene: Scene) -> ImagePrompts:
    """The tight box of the truth."""
    box = mask_box(scene.truth)
    return ImagePrompts(boxes=(box,) if box else ())


def click_prompt(scene: Scene) -> ImagePrompts:
    """A click on the pixel furthest from the outline."""
    depth = cv2.distanceTransform(scene.truth.view(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return ImagePrompts(points=(Point(float(x), float(y)),))


def word_prompt(scene: Scene) -> ImagePrompts:
    """The noun."""
    return ImagePrompts((scene.noun,))


def _best_overlap(segmenter: LiteSegmenter, scene: Scene, prompts: ImagePrompts) -> float:
    (found,) = segmenter.segment([scene.picture], [prompts], lambda: False)
    return max((mask_overlap(decode(one.mask), scene.truth) for one in found), default=0.0)


def _follow(found: Sequence[Instance], noun: str, truth: Mask) -> tuple[float, int]:
    """The best overlap of an instance of a noun with the truth, and its id; else 0 and 0."""
    named = [one for one in found if one.label == noun]
    overlaps = [(mask_overlap(decode(one.mask), truth), one.object_id) for one in named]
    return max(overlaps, default=(0.0, 0))


def _print_row(name: str, overlaps: Sequence[float], milliseconds: float) -> None:
    values = np.array(overlaps or [0.0])
    print(
        f"{name:<18}{values.mean():>9.3f}{np.median(values):>8.3f}{(values > 0.5).mean():>7.2f}"
        f"{(values > 0.8).mean():>7.2f}{milliseconds:>6.0f}"
    )


def _flower() -> Mover:
    """The dahlia of flower.jpg, as round as it is."""
    turns = [2 * pi * step / 40 for step in range(40)]
    outline = tuple((round(308 + 138 * cos(turn)), round(223 + 137 * sin(turn))) for turn in turns)
    return Mover("flower", "flower.jpg", outline, 0.5, (0.5, 0.5), 0.2)


def _load(weights: Path, name: str) -> Rgb:
    with Image.open(locate(weights, name)) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


if __name__ == "__main__":
    main()
