"""Zip files of PNGs: written piece by piece, joined by copying bytes, told by an index."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isal import isal_zlib

from workers.media.atomic import replacing
from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.names import INDEX_NAME, frame_name, mask_name
from workers.media.overlay import Overlay
from workers.media.pixels import Rgb
from workers.media.plan import FramePlan
from workers.media.png import encode_rgb, encode_rle
from workers.media.shards import Found, ShardFrame
from workers.media.sums import FileSum, SummedFile, summing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can tell: equal files give equal bytes
_MODE = 0o644 << 16
_COPY_BYTES = 1 << 20
Take = Callable[[Iterator[ShardFrame]], object]
"""What is handed frames one by one, and wants them all."""


def let_pass(frames: Iterator[ShardFrame]) -> None:
    """Wants every frame, and nothing of it."""
    deque(frames, maxlen=0)


class ZipWriter:
    """Adds stored (not compressed) entries to an open zip file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, data: bytes) -> None:
        """Appends an entry with a fixed date."""
        entry = new_entry(name)
        entry.file_size = entry.compress_size = len(data)
        entry.CRC = isal_zlib.crc32(data)
        entry.header_offset = self._archive.start_dir
        file = _file_of(self._archive)
        file.seek(entry.header_offset)
        file.write(entry.FileHeader() + data)
        self._archive.start_dir = file.tell()
        self._archive.filelist.append(entry)
        self._archive.NameToInfo[name] = entry

    def add_file(self, name: str, path: Path) -> None:
        """Appends a file's content, however large."""
        entry = new_entry(name)
        entry.file_size = path.stat().st_size  # tells whether it needs a header for large ones
        with path.open("rb") as source, self._archive.open(entry, "w") as target:
            shutil.copyfileobj(source, target)

    def add_frame(self, frame: ShardFrame, image: Rgb, overlay: Overlay) -> None:
        """Appends the frame with its masks painted on it."""
        painted = overlay.paint_rgb(image, [found.mask for found in frame.instances])
        self.add(frame_name(frame.source_index), encode_rgb(painted))

    def add_masks(self, frame: ShardFrame) -> None:
        """Appends one mask an object."""
        for found in frame.instances:
            name = mask_name(frame.source_index, found.object_id)
            self.add(name, encode_rle(found.mask))


@contextmanager
def write_zip(path: Path) -> Iterator[ZipWriter]:
    """A new zip file that appears, whole, when the block ends."""
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        yield ZipWriter(archive)


def join_zips(
    parts: Sequence[Path], target: Path, index: Path, checkpoint: Checkpoint = no_checkpoint
) -> list[str]:
    """One zip of all entries of `parts` in their order, copied as bytes, and then `index.json`.

    `parts` must have been written by `write_zip`. Returns the names of all entries.
    """
    with replacing(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for path in checked(parts, checkpoint):
            _append(archive, path)
        ZipWriter(archive).add_file(INDEX_NAME, index)
        return archive.namelist()


def write_index(
    path: Path, plan: FramePlan, frames: Iterable[ShardFrame], take: Take = let_pass
) -> FileSum:
    """Writes what stands on each processed frame: source frame number, time and objects.

    `take` is handed the frames as they are written. Returns the sum of what was written.
    """
    with summing(path) as file:
        file.say(f'{{"time_base":"{plan.time_base}","frames":[')
        take(_indexed(file, plan, frames))
        file.say("\n]}\n")
    return file.sum


def _indexed(
    file: SummedFile, plan: FramePlan, frames: Iterable[ShardFrame]
) -> Iterator[ShardFrame]:
    for number, frame in enumerate(frames):
        line = json.dumps(_index_line(plan, frame), ensure_ascii=False, separators=(",", ":"))
        file.say(f",\n{line}" if number else f"\n{line}")
        yield frame


def _index_line(plan: FramePlan, frame: ShardFrame) -> dict[str, Any]:
    return {
        "index": frame.index,
        "source_frame": frame.source_index,
        "pts": frame.pts,
        "time": round(plan.time_s(frame.index), 6),
        "objects": [_index_object(frame, found) for found in frame.instances],
    }


def _index_object(frame: ShardFrame, found: Found) -> dict[str, Any]:
    return {
        "id": found.object_id,
        "label": found.label,
        "score": found.score,
        "box": found.box,
        "mask": mask_name(frame.source_index, found.object_id),
    }


def new_entry(name: str) -> zipfile.ZipInfo:
    """An entry of that name as all of ours are: stored, with a fixed date."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = _MODE
    return entry


def _append(archive: zipfile.ZipFile, path: Path) -> None:
    """Copies the bytes of all entries and lists them, moved, in the new archive."""
    file, shift = _file_of(archive), archive.start_dir
    with zipfile.ZipFile(path) as source:
        file.seek(shift)
        _copy(path, file, source.start_dir)
        for entry in source.infolist():
            entry.header_offset += shift
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive.start_dir = shift + source.start_dir


def _file_of(archive: zipfile.ZipFile) -> IO[bytes]:
    if archive.fp is None:
        raise ValueError("the archive is closed")
    return archive.fp


def _copy(path: Path, target: IO[bytes], size_bytes: int) -> None:
    with path.open("rb") as source:
        while size_bytes > 0:
            data = source.read(min(size_bytes, _COPY_BYTES))
            target.write(data)
            size_bytes -= len(data)
