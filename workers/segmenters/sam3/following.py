"""A video followed: features looked up some frames ahead, objects tracked frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workers.segmenters.base import (
    FrameResult,
    Instance,
    Rgb,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import UNNAMED
from workers.segmenters.sam3.drawing import draw_apart
from workers.segmenters.sam3.features import Detections, Features
from workers.segmenters.sam3.finder import tight_box
from workers.segmenters.sam3.memory import SHOWN, FlatSession
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.pictures import in_place
from workers.segmenters.sam3.relief import MOST_OBJECTS, Relief, attempt
from workers.segmenters.sam3.shown import (
    begun_by,
    check_prompts,
    corrected_by,
    marks_on,
    shown_ids,
)
from workers.segmenters.sam3.state import Following, load_state, save_state
from workers.segmenters.sam3.tracking import Followed, Found, Frame, Terms

LOOKS_AFTER_NEW = 15
"""Frames on which the detector looks after a new object, so that it is confirmed or dropped."""
TOO_MANY = f"There are more than {MOST_OBJECTS} objects of a concept; the others were left out."


@dataclass(frozen=True, slots=True)
class Ahead:
    """Frames looked up together; `found` by concept, then frame, where all were looked for."""

    seen: Features
    maps: list[Tensor]
    positions: list[Tensor]
    found: list[list[Detections]] | None

    def at(self, place: int) -> tuple[list[Tensor], list[Tensor]]:
        """The tracker's maps of one frame and their position encodings."""
        maps = [level[:, place : place + 1] for level in self.maps]
        return maps, [
            one[:, place : place + 1] if one.shape[1] > 1 else one for one in self.positions
        ]


class FollowingSession:
    """One video being followed.

    Concepts are held back until later frames confirm them (`hotstart_delay`), so a result comes
    that many frames late; objects that only the client shows are told at once.
    """

    def __init__(
        self,
        network: Network,
        version: str,
        prompts: VideoPrompts,
        options: SessionOptions,
        state: bytes | None,
    ) -> None:
        self._network = network
        self._version = version
        self._prompts = prompts
        self._concepts = tuple(dict.fromkeys(prompts.concepts))
        self._every = options.re_detect_every
        # The detector must look on the frames on which objects are refreshed.
        refresh = network.model.config.recondition_every_nth_frame
        refresh = -(-refresh // self._every) * self._every
        self._refresh = refresh
        self._relief = Relief(network.batch, MOST_OBJECTS)
        self._untold: list[str] = []
        self._delay = network.model.hotstart_delay if self._concepts else 0
        self._now = self._begin(state)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """The results that are final now.

        Where the GPU's memory is full, the frame is computed anew in smaller steps, and so are all
        that follow: their `warnings` say so. Raises `MemoryError` where no smaller step is left.
        `Stopped` tells how many of the frames were taken in; their results come with later ones.
        """
        final: list[FrameResult] = []
        first = self._now.index
        with self._network.computing():
            while left := frames[self._now.index - first :]:
                try:
                    fitted = self._take(self._block(left), final, should_stop)
                except Stopped:
                    self._now.held[:0] = final
                    raise Stopped(self._now.index - first) from None
                if not fitted:
                    self._relieve()
        return final

    def flush(self) -> list[FrameResult]:
        """Everything that is still held back."""
        return self._release(1)

    def state(self) -> bytes:
        """The tracker's memory, the counters, and the results held back."""
        return save_state(self._now, self._version)

    def close(self) -> None:
        """Drops the tracker's memory."""
        self._now = Following(self._new_session())

    def _begin(self, state: bytes | None) -> Following:
        session = self._new_session()
        if state is not None:
            return load_state(state, self._version, session, self._network.device)
        session.max_obj_id = max(shown_ids(self._prompts), default=0)
        return Following(session)

    def _new_session(self) -> FlatSession:
        session = FlatSession(self._network.device)
        session.prompts = dict(enumerate(self._concepts))
        return session

    def _block(self, frames: Sequence[Rgb]) -> Sequence[Rgb]:
        """Those that go through the encoder together: of one multiple of the batch."""
        ahead = self._relief.ahead
        return frames[: ahead - self._now.index % ahead]

    def _take(
        self, block: Sequence[Rgb], final: list[FrameResult], should_stop: ShouldStop
    ) -> bool:
        """Takes the frames in, and adds to the final results; false where memory was full.

        The session stands right before the frame then on which it was.
        """
        before = self._now

        def run() -> bool:
            nonlocal before
            if should_stop():
                raise Stopped
            first = self._now.index
            ahead = self._look_ahead(block, first)
            for number, frame in enumerate(block):
                if number and should_stop():
                    raise Stopped
                before = self._now.copied()
                place = (first + number) % self._relief.ahead
                self._hold(self._follow(ahead, place, (frame.shape[0], frame.shape[1])))
                final.extend(self._release(self._delay))
                before = self._now
            return True

        if attempt(run):
            return True
        self._now = before
        self._now.session.cache.clear_all()
        return False

    def _relieve(self) -> None:
        """Makes the next step smaller than the one for which memory was not enough."""
        if self._network.let_go():
            return  # what was kept for others is gone: the same again, with more memory
        session = self._now.session
        told = self._relief.lower(max(map(len, self._by_concept().values()), default=0))
        if told is None:
            raise MemoryError("not even one frame with one object fits")
        self._untold.append(told)
        self._apply(session)

    def _apply(self, session: FlatSession) -> None:
        session.at_once = self._relief.at_once
        if self._relief.on_host:
            session.to_host()
        for followed in self._by_concept().values():
            session.drop(followed[self._relief.most :])

    def _by_concept(self) -> dict[int, list[int]]:
        """The objects of each concept, the surest first; not those that the client showed."""
        session = self._now.session
        found: dict[int, list[int]] = {}
        for object_id in sorted(session.obj_ids, key=lambda one: -session.obj_id_to_score[one]):
            concept = session.obj_id_to_prompt_id[object_id]
            if concept != SHOWN:
                found.setdefault(concept, []).append(object_id)
        return found

    def _look_ahead(self, block: Sequence[Rgb], first: int) -> Ahead:
        batch = self._relief.ahead
        seen = self._network.look(in_place(self._network.pixels(block), first % batch, batch))
        found = None
        if self._every == 1:
            found = [self._detect(seen, concept, batch) for concept in self._concepts]
        return Ahead(seen, *self._network.model.tracker_view(seen), found)

    def _detect(self, seen: Features, concept: str, count: int) -> list[Detections]:
        return self._network.detect(seen, [self._network.words(concept)] * count)

    def _follow(self, ahead: Ahead, place: int, size: tuple[int, int]) -> FrameResult:
        now, model = self._now, self._network.model
        if now.index == 0:
            check_prompts(self._prompts, size)
        maps, positions = ahead.at(place)
        marks = marks_on(self._prompts, now.index, size)
        followed_before = set(now.session.obj_ids)
        new = {one: given for one, given in marks.items() if one not in followed_before}
        shown = begun_by(self._network, maps, size, new)
        logits = {object_id: one.logits for object_id, one in shown.items()}
        frame = Frame(now.index, maps, positions, self._found(ahead, place), logits)
        terms = Terms(self._prompts.threshold, self._refresh, self._relief.most)
        followed = model.follow(now.session, frame, terms)
        known = {one: given for one, given in marks.items() if one in followed.logits}
        shown |= corrected_by(self._network, maps, size, known, followed.logits)
        if shown:
            model.show(
                now.session, now.index, {object_id: one.logits for object_id, one in shown.items()}
            )
            followed.logits.update((object_id, one.logits) for object_id, one in shown.items())
            followed.scores.update((object_id, one.score) for object_id, one in shown.items())
        result = self._result(followed, size)
        self._advance(followed)
        return result

    def _found(self, ahead: Ahead, place: int) -> Found | None:
        """The likely detections on a frame; none where the detector does not look at it."""
        now, model = self._now, self._network.model
        if not self._concepts:
            return None
        if now.index % self._every and now.index > now.looks_until:
            return None
        if ahead.found is not None:
            raw = [found[place] for found in ahead.found]
        else:
            seen = ahead.seen.row(place)
            raw = [self._detect(seen, concept, 1)[0] for concept in self._concepts]
        return {
            number: model.likely(found, self._prompts.threshold) for number, found in enumerate(raw)
        }

    def _advance(self, followed: Followed) -> None:
        now, model = self._now, self._network.model
        if followed.began:
            now.looks_until = now.index + LOOKS_AFTER_NEW
        for object_id in followed.removed:
            now.held = [_without(result, object_id) for result in now.held]
        now.session.forget(
            now.index,
            max(model.hotstart_unmatch_thresh, model.hotstart_dup_thresh),
            model.differences,
        )
        now.index += 1

    def _result(self, followed: Followed, size: tuple[int, int]) -> FrameResult:
        told = sorted(set(followed.logits) - followed.hidden - followed.removed)
        warnings, self._untold = tuple(self._untold), []
        if followed.dropped and self._relief.most == MOST_OBJECTS:
            warnings += (TOO_MANY,)
        if not told:
            return FrameResult(self._now.index, (), warnings)
        concepts = [self._now.session.obj_id_to_prompt_id[object_id] for object_id in told]
        scores = [followed.scores[object_id] for object_id in told]
        logits = torch.stack([followed.logits[object_id] for object_id in told])
        masks = draw_apart(logits, size, scores, concepts)
        instances = (
            Instance(
                mask,
                tight_box(mask),
                round(min(1.0, max(0.0, score)), 4),
                UNNAMED if concept == SHOWN else self._concepts[concept],
                object_id,
            )
            for object_id, mask, score, concept in zip(told, masks, scores, concepts, strict=True)
        )
        seen = tuple(one for one in instances if one.mask.area)
        return FrameResult(self._now.index, seen, warnings)

    def _hold(self, result: FrameResult) -> None:
        self._now.held.append(result)

    def _release(self, delay: int) -> list[FrameResult]:
        """The results that `delay` frames, their own counted, have passed by."""
        count = max(0, len(self._now.held) - max(1, delay) + 1)
        ready, self._now.held = self._now.held[:count], self._now.held[count:]
        return ready


def _without(result: FrameResult, object_id: int) -> FrameResult:
    kept = tuple(one for one in result.instances if one.object_id != object_id)
    return replace(result, instances=kept)
