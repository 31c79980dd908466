"""Where this engine does other than plain transformers 5.23, each under its own switch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Differences:
    """All are on in the product; tests switch them off to compare with plain transformers.

    - `no_memory`: clicks and boxes on pictures see the map with the no-memory embedding, as in
      Meta's own code; transformers adds it to a level that is never read.
    - `interpolate_logits`: a picture's masks are enlarged as logits, not as probabilities.
    - `own_masks`: where one object is dropped, the others keep their own masks and scores;
      transformers gives them a neighbour's on that frame.
    - `track_once`: a new object does not make all others be tracked a second time.
    - `few_pointers`: an object keeps its last four conditioning frames, not every one.
    - `together`: all objects are tracked in one batch; results are equal but for rounding.
    - `choose_memory`: an object remembers the last frames on which it was seen well, as in Meta's
      own code, not the last frames whatever they show. Only where `together` is on.
    - `frame_scores`: an object's score is the tracker's on each frame, not that of its first
      detection.
    """

    no_memory: bool = True
    interpolate_logits: bool = True
    own_masks: bool = True
    track_once: bool = True
    few_pointers: bool = True
    together: bool = True
    choose_memory: bool = True
    frame_scores: bool = True

    @property
    def chooses_memory(self) -> bool:
        """Whether frames are chosen: transformers' own tracker does not judge them."""
        return self.choose_memory and self.together


NONE = Differences(
    no_memory=False,
    interpolate_logits=False,
    own_masks=False,
    track_once=False,
    few_pointers=False,
    together=False,
    choose_memory=False,
    frame_scores=False,
)
"""What plain transformers does."""
