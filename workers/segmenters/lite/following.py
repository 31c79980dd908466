"""A video followed frame by frame: detect now and then, carry the masks along in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workers.masks import Mask
from workers.segmenters.base import (
    FrameResult,
    Instance,
    Rgb,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.lite.concepts import labels_by_noun
from workers.segmenters.lite.finder import instance_of, score_of, shrunk
from workers.segmenters.lite.motion import Grey, flow_between, grey_of, is_cut
from workers.segmenters.lite.outlines import FINE, QUICK, Outline, outline
from workers.segmenters.lite.regions import mask_overlap, resized
from workers.segmenters.lite.scene import Models, Scene
from workers.segmenters.lite.shown import check_prompts, shown_ids, shown_on
from workers.segmenters.lite.state import Following, load_state, save_state
from workers.segmenters.lite.tracks import (
    MOST_OBJECTS,
    SURE_MARGIN,
    Candidate,
    Track,
    is_new,
    matches,
    remaining,
    soft_of,
)

_LONGEST_SIDE = 640  # pixels: the size at which a frame is followed
_MOST_FRAMES_UNSEEN = 5  # masks carried along by optical flow alone stay true for about so long
_HOLD_MARGIN = 0.2  # an object already followed may score this much under the threshold
_SURE_ENOUGH = 0.5  # trust, and overlap with the mask carried along, of a new look at a shown one


class FollowingSession:
    """One video being followed; holds the last frame in grey and one soft mask per object."""

    def __init__(
        self, models: Models, prompts: VideoPrompts, options: SessionOptions, state: bytes | None
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._every = min(options.re_detect_every, _MOST_FRAMES_UNSEEN)
        self._labels = labels_by_noun(prompts.concepts)
        first_id = max(shown_ids(prompts), default=0) + 1
        self._now = Following(next_id=first_id) if state is None else load_state(state)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """The results of all frames given: none is held back.

        After `Stopped` the session has taken in the frames before; go on from an earlier state.
        """
        return [self._follow(frame, should_stop) for frame in frames]

    def flush(self) -> list[FrameResult]:
        """Nothing: no result is held back."""
        return []

    def state(self) -> bytes:
        """The last frame in grey, the tracks and the counters."""
        return save_state(self._now)

    def close(self) -> None:
        """Drops the frame and the masks."""
        self._now = Following(next_id=1)

    def _follow(self, frame: Rgb, should_stop: ShouldStop) -> FrameResult:
        if should_stop():
            raise Stopped
        shape = (frame.shape[0], frame.shape[1])
        if self._now.index == 0:
            check_prompts(self._prompts, shape)
        scene = Scene(self._models, shrunk(frame, _LONGEST_SIDE), should_stop)
        grey = grey_of(scene.picture)
        tracks, is_first = self._carry(grey)
        tracks = self._show(scene, shape, tracks)
        if self._looks(tracks, is_first=is_first):
            tracks = self._look(scene, tracks)
        index = self._now.index
        self._now = replace(self._now, index=index + 1, grey=grey, tracks=tuple(tracks))
        return FrameResult(index, _instances(tracks, shape))

    def _carry(self, grey: Grey) -> tuple[list[Track], bool]:
        """The tracks on this frame, and whether a scene begins with it."""
        before = self._now.grey
        if before is None or before.shape != grey.shape:
            return [], True
        flow = flow_between(before, grey)
        if is_cut(before, grey, flow):
            return [], True
        return remaining(track.moved(flow) for track in self._now.tracks), False

    def _show(self, scene: Scene, shape: tuple[int, int], tracks: list[Track]) -> list[Track]:
        """The tracks with the objects that the client shows on this frame."""
        masks = {track.object_id: track.mask for track in tracks}
        shown = shown_on(scene, self._prompts, self._now.index, shape, masks)
        kept = [track for track in tracks if track.object_id not in shown]
        return kept + [_shown_track(object_id, found) for object_id, found in shown.items()]

    def _looks(self, tracks: Sequence[Track], *, is_first: bool) -> bool:
        unsure = any(not track.confirmed for track in tracks)
        return is_first or unsure or self._now.index % self._every == 0

    def _look(self, scene: Scene, tracks: list[Track]) -> list[Track]:
        """The tracks after the detector looked: seen anew, missed, dropped, begun."""
        candidates = self._candidates(scene)
        pairs = matches(tracks, candidates)
        looked = [
            _look_at(scene, track, candidates[pairs[row]] if row in pairs else None)
            for row, track in enumerate(tracks)
        ]
        kept = remaining(looked)
        rest = [one for place, one in enumerate(candidates) if place not in pairs.values()]
        for candidate in rest:
            if len(kept) < MOST_OBJECTS and self._begins(candidate, kept):
                kept.append(self._begin(scene, candidate))
        return kept

    def _candidates(self, scene: Scene) -> list[Candidate]:
        """The detected objects asked for, at scores that would do for one already followed."""
        if not self._labels:
            return []
        least = self._prompts.threshold - _HOLD_MARGIN
        return [
            Candidate(self._labels[one.noun], one.noun, score_of(one.raw_score), one.box)
            for one in scene.detections()
            if one.noun in self._labels and score_of(one.raw_score) >= least
        ]

    def _begins(self, candidate: Candidate, tracks: Sequence[Track]) -> bool:
        return candidate.score >= self._prompts.threshold and is_new(candidate, tracks)

    def _begin(self, scene: Scene, candidate: Candidate) -> Track:
        object_id = self._now.next_id
        self._now = replace(self._now, next_id=object_id + 1)
        mask = outline(scene, candidate.box, candidate.noun, FINE).mask
        sure = min(0.95, self._prompts.threshold + SURE_MARGIN)
        return Track(
            object_id,
            candidate.label,
            candidate.noun,
            candidate.score,
            soft_of(mask),
            confirmed=candidate.score >= sure,
        )


def _look_at(scene: Scene, track: Track, candidate: Candidate | None) -> Track:
    """A track after the detector looked, its mask drawn anew where there is something to go by."""
    if track.noun is None:
        return _look_at_shown(scene, track)
    if candidate is None:
        return track.missed()
    found = outline(scene, candidate.box, candidate.noun, QUICK, track.mask)
    return track.seen(found.mask, candidate.score)


def _look_at_shown(scene: Scene, track: Track) -> Track:
    before: Mask = track.mask
    found = outline(scene, track.box, None, QUICK, before)
    if found.trust < _SURE_ENOUGH or mask_overlap(found.mask, before) < _SURE_ENOUGH:
        return track
    return track.seen(found.mask, track.score)


def _shown_track(object_id: int, found: tuple[str, Outline]) -> Track:
    label, seen = found
    return Track(object_id, label, None, max(0.01, seen.trust), soft_of(seen.mask))


def _instances(tracks: Sequence[Track], shape: tuple[int, int]) -> tuple[Instance, ...]:
    sure = sorted((track for track in tracks if track.confirmed), key=lambda one: one.object_id)
    drawn = (
        instance_of(resized(track.mask, shape), track.score, track.label, track.object_id)
        for track in sure
    )
    return tuple(instance for instance in drawn if instance.mask.area)
