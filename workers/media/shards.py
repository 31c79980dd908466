"""What was found on the frames of a chunk: the canonical result, from which every format is made.

A gzip file of JSON lines: the size of the masks, then one line a processed frame. Equal results
give equal bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from workers.masks import Rle
from workers.media.sums import FileSum, summing

Json = dict[str, Any]

_VERSION = 1
_LEVEL = 1


class Found(Protocol):
    """One object on one frame, as a segmenter tells it."""

    @property
    def mask(self) -> Rle: ...  # noqa: D102 - see `ShardInstance`
    @property
    def box(self) -> tuple[float, float, float, float]: ...  # noqa: D102 - likewise
    @property
    def score(self) -> float: ...  # noqa: D102 - likewise
    @property
    def label(self) -> str: ...  # noqa: D102 - likewise
    @property
    def object_id(self) -> int: ...  # noqa: D102 - likewise


@dataclass(frozen=True, slots=True)
class ShardInstance:
    """One object on one frame: its mask, box (x_min, y_min, x_max, y_max), score 0-1 and label."""

    mask: Rle
    box: tuple[float, float, float, float]
    score: float
    label: str
    object_id: int


@dataclass(frozen=True, slots=True)
class ShardFrame:
    """One processed frame: its index among them, its number and pts in the source, its objects."""

    index: int
    source_index: int
    pts: int
    instances: Sequence[Found]


class ShardWriter:
    """Writes frames as they come; a context manager whose file appears, whole, at its end.

    `sum` is that of the file by then.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        self._path = path
        self._size = height, width
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._raw = self._stack.enter_context(summing(self._path))
        self._file = self._stack.enter_context(
            gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=_LEVEL, mtime=0)
        )
        height, width = self._size
        self._line({"version": _VERSION, "height": height, "width": width})
        return self

    @property
    def sum(self) -> FileSum:
        """The sum of what was written."""
        return self._raw.sum

    def write(self, frame: ShardFrame) -> None:
        """Appends the next frame; its masks must have the shard's size."""
        if any((f.mask.height, f.mask.width) != self._size for f in frame.instances):
            raise ValueError("a mask of another size than the shard's")
        self._line(_frame_to_json(frame))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _line(self, value: Json) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def read_shard(path: Path) -> Iterator[ShardFrame]:
    """The frames of a shard, in order; raises `ValueError` where it is no shard of this version."""
    with gzip.open(path, "rb") as lines:
        header = json.loads(next(lines, b"{}"))
        if header.get("version") != _VERSION:
            raise ValueError(f"not a shard of version {_VERSION}: {path.name}")
        for line in lines:
            yield _frame_from_json(json.loads(line), header["height"], header["width"])


def read_shards(paths: Iterable[Path]) -> Iterator[ShardFrame]:
    """The frames of all shards, one shard after the other."""
    for path in paths:
        yield from read_shard(path)


def _frame_to_json(frame: ShardFrame) -> Json:
    return {
        "index": frame.index,
        "source_index": frame.source_index,
        "pts": frame.pts,
        "instances": [_instance_to_json(found) for found in frame.instances],
    }


def _instance_to_json(found: Found) -> Json:
    return {
        "object_id": found.object_id,
        "label": found.label,
        "score": float(found.score),
        "box": [float(side) for side in found.box],
        "counts": found.mask.counts,
        "area": found.mask.area,
        "bbox": found.mask.bbox,
    }


def _frame_from_json(line: Json, height: int, width: int) -> ShardFrame:
    instances = tuple(_instance_from_json(found, height, width) for found in line["instances"])
    return ShardFrame(line["index"], line["source_index"], line["pts"], instances)


def _instance_from_json(found: Json, height: int, width: int) -> ShardInstance:
    x, y, columns, rows = found["bbox"]
    x_min, y_min, x_max, y_max = found["box"]
    return ShardInstance(
        mask=Rle(height, width, found["counts"], found["area"], (x, y, columns, rows)),
        box=(x_min, y_min, x_max, y_max),
        score=found["score"],
        label=found["label"],
        object_id=found["object_id"],
    )
