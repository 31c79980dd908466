"""What a unit of work is given: its claim, its prediction, and the ways to report and to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visionseg.artifacts.names import public_name, store_key
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import ImageInput, Kind, SegmentInput, VideoInput, media_field
from visionseg.predictions import checkpoint
from visionseg.predictions.installation import Installation
from visionseg.records import files
from visionseg.records.files import HIDDEN, NewFile, Role
from visionseg.records.predictions import Record
from visionseg.records.units import Claim
from workers.media.sums import FileSum
from workers.segmenters.base import Segmenter, Session, Stopped

UNKNOWN_TYPE = "application/octet-stream"
Check = Callable[[Path], None]
"""Given a file of the store, raises `BrokenOutput` where it is not as it should be."""


@dataclass(slots=True)
class Warm:
    """A session kept between two chunks of a video, so that no checkpoint need be loaded."""

    prediction_id: str = ""
    next_frame: int = -1
    session: Session | None = None

    def take(self, prediction_id: str, frame: int) -> Session | None:
        """The session, if it stands right before that frame of that video; it is kept no longer."""
        fits = (self.prediction_id, self.next_frame) == (prediction_id, frame)
        session, self.session = self.session, None
        if session is not None and not fits:
            session.close()
            return None
        return session

    def keep(self, prediction_id: str, next_frame: int, session: Session) -> None:
        """Keeps a session that stands right before `next_frame`."""
        self.drop()
        self.prediction_id, self.next_frame, self.session = prediction_id, next_frame, session

    def drop(self) -> None:
        """Closes what is kept."""
        if self.session is not None:
            self.session.close()
            self.session = None


@dataclass(slots=True)
class Work:
    """One claimed unit while it is worked on.

    `moved` tells progress in frames; `should_stop` is asked between steps; `give_way` lets waiting
    pictures go first. `on_commit` runs once the outcome is visible.
    """

    installation: Installation
    claim: Claim
    prediction: Record
    scratch: Path
    segmenter: Segmenter | None
    warm: Warm
    should_stop: Callable[[], bool]
    moved: Callable[[int], None]
    give_way: Callable[[], None]
    on_commit: list[Callable[[], None]] = field(default_factory=list)
    _keys: list[str] = field(default_factory=list)
    _signs: int = 0

    def checkpoint(self) -> None:
        """Raises `Stopped` when the work is to stop."""
        if self.should_stop():
            raise Stopped

    def alive(self) -> None:
        """`checkpoint`, and a sign of life: for work that counts no frames."""
        self._signs += 1
        self.moved(self._signs)
        self.checkpoint()

    @property
    def source(self) -> Path:
        """The picture or video, on this machine's disk."""
        return self.installation.store.path(self.prediction.source["store_key"])

    def asked(self) -> SegmentInput:
        """The checked input with all defaults; its media field holds no data."""
        kind = Kind(self.prediction.kind)
        model = ImageInput if kind is Kind.IMAGE else VideoInput
        return model.model_validate({**self.prediction.params, media_field(kind): "stored"})

    def needed_segmenter(self) -> Segmenter:
        """The loaded model. Raises `RuntimeError` in a worker without one."""
        if self.segmenter is None:
            raise RuntimeError(f"this worker holds no model for {self.prediction.engine}")
        return self.segmenter

    def put(self, role: Role, name: str, path: Path, content_type: str, check: Check) -> NewFile:
        """Stores a finished file under a name that holds the attempt; the commit makes it seen.

        `check` looks at what stands in the store; where it raises, the file does not count.
        """
        claim = self.claim
        key = store_key(claim.prediction_id, claim.seq, claim.attempt, name)
        self._keys.append(key)
        stored = self.installation.store.put(key, path)
        check(self.local(key))
        FileSum(stored.size_bytes, stored.crc32).check(self.local(key))  # still as it was summed
        self._insist_on_size(role, stored.size_bytes)
        hidden = role in HIDDEN
        shown = f"{claim.seq:06d}-{claim.attempt:03d}-{name}" if hidden else name
        return NewFile(
            role=role,
            name=public_name(claim.prediction_id, shown),
            store_key=stored.key,
            content_type=content_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )

    def is_wanted(self) -> bool:
        """Whether the unit is still this worker's and its prediction open."""
        return checkpoint.is_wanted(self.installation, self.claim)

    def keep(
        self, progress: Mapping[str, Any], files: Sequence[NewFile], spent: Sequence[str]
    ) -> None:
        """Commits how far the unit came, with files that were `put`, for whoever takes it next.

        Raises `Stopped` where the unit is somebody else's by now, or not wanted any more.
        """
        if not checkpoint.keep(self.installation, self.claim, progress, files, spent):
            raise Stopped
        named = {file.store_key for file in files}
        self._keys = [key for key in self._keys if key not in named]

    def insist_on_room(self, size_bytes: int = 0) -> None:
        """Raises `Refusal` (storage_full) where the disk has no room for so much and some spare."""
        spare = self.installation.settings.limits.spare_bytes
        if self.installation.store.free_bytes() < size_bytes + spare:
            raise Refusal(ErrorCode.STORAGE_FULL)

    def _insist_on_size(self, role: Role, size_bytes: int) -> None:
        """Raises `Refusal` (output_too_large) once files of a result are more than they may be."""
        limits, before = self.installation.settings.limits, 0
        if role in {Role.PART, Role.SHARD}:
            with self.installation.database.connect() as connection:
                before = files.made_bytes(connection, self.claim.prediction_id, role)
        if role not in HIDDEN and before + size_bytes > limits.output_bytes:
            raise Refusal(ErrorCode.OUTPUT_TOO_LARGE)

    def put_bytes(self, name: str, data: bytes, role: Role = Role.WORK) -> NewFile:
        """Stores what is not for clients."""
        path = self.scratch / name
        path.write_bytes(data)
        return self.put(role, name, path, UNKNOWN_TYPE, FileSum.of(data).check)

    def discard(self) -> None:
        """Deletes what `put` stored and no commit named: the unit failed, and none will."""
        for key in self._keys:
            self.installation.store.delete(key)

    def local(self, key: Any) -> Path:  # noqa: ANN401 - keys come out of JSON
        """Where a stored file can be read on this machine."""
        return self.installation.store.path(str(key))
