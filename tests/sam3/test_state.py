"""A session's state brings back everything that the next frame depends on."""

from __future__ import annotations

from collections import defaultdict

import torch

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, follow, settle
from workers.segmenters.sam3.memory import FlatSession, outputs_of
from workers.segmenters.sam3.state import Following, load_state, save_state

CPU = torch.device("cpu")
FACTS = (
    "obj_ids",
    "max_obj_id",
    "obj_id_to_prompt_id",
    "obj_id_to_score",
    "obj_id_to_last_occluded",
    "obj_first_frame_idx",
    "unmatched_frame_inds",
    "overlap_pair_to_frame_inds",
    "trk_keep_alive",
    "_obj_id_to_idx",
    "_obj_idx_to_id",
)


def _eventful(network_session: FlatSession) -> FlatSession:
    """The session with an entry in whatever a short calm film leaves empty."""
    network_session.obj_id_to_last_occluded = {1: torch.tensor([3]), 2: torch.tensor([-1])}
    network_session.unmatched_frame_inds = defaultdict(list, {1: [2, 3]})
    network_session.overlap_pair_to_frame_inds = defaultdict(list, {(1, 2): [4]})
    network_session.trk_keep_alive = {1: 29, 2: -1}
    return network_session


def test_all_facts_and_tensors_come_back(make_network: MakeNetwork) -> None:
    network = settle(make_network(), CALM)
    _, results, watched = follow(network, film(3), CONCEPTS)
    session = _eventful(watched._now.session)
    before = Following(session, 3, 17, results)
    state = save_state(before, "tiny")
    after = load_state(state, "tiny", FlatSession(CPU), CPU)
    assert (after.index, after.looks_until, after.held) == (3, 17, results)
    assert any(result.instances for result in results)
    for name in FACTS:
        assert getattr(after.session, name) == getattr(session, name), name
    assert isinstance(after.session.unmatched_frame_inds, defaultdict)
    assert isinstance(after.session.overlap_pair_to_frame_inds, defaultdict)
    ours, theirs = list(outputs_of(after.session)), list(outputs_of(session))
    assert [one[:3] for one in ours] == [one[:3] for one in theirs]
    for (*_, one), (*_, other) in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(one[name].dtype == other[name].dtype for name in one)
    assert save_state(after, "tiny") == state


def test_a_state_holds_its_own_tensors_only(make_network: MakeNetwork) -> None:
    """Memories are cut out of a batch of all objects: each would bring all of it."""
    _, _, watched = follow(settle(make_network(), CALM), film(3), CONCEPTS)
    session = watched._now.session
    needed = sum(
        tensor.numel() * tensor.element_size()
        for *_, output in outputs_of(session)
        for tensor in output.values()
    )
    assert len(watched.state()) < 1.2 * needed + 20_000
