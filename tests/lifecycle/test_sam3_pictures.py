"""Pictures on SAM3 in batches, and what is kept of a picture from one job to the next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from tests.fakes.tiny_sam3 import film, save_tiny
from tests.lifecycle.conftest import Client, png_uri
from visionseg.access.keys import Caller, authenticate
from visionseg.config import Models
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import SAM3
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import GPU_LANES
from workers.bench import Bench
from workers.hosts import owner_name
from workers.segmenters.base import ImagePrompts
from workers.segmenters.registry import ENGINES
from workers.segmenters.sam3.segmenter import Sam3Segmenter

PICTURES = film(5)
THRESHOLD = 0.1


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Sam3Segmenter:
    torch.set_num_threads(1)
    folder = save_tiny(tmp_path_factory.mktemp("tiny"))
    models = Models(sam3_weights=str(folder), sam3_batch=4, sam3_pictures_kept=2)
    segmenter = ENGINES[SAM3].load(models)
    assert isinstance(segmenter, Sam3Segmenter)
    return segmenter


@pytest.fixture
def looks(loaded: Sam3Segmenter) -> Iterator[list[int]]:
    """How many pictures went through the vision encoder each time that it ran."""
    seen: list[int] = []

    def note(_encoder: object, given: tuple[torch.Tensor], _told: object) -> None:
        seen.append(len(given[0]))

    encoder = loaded.network.model.detector_model.vision_encoder
    hook = encoder.register_forward_hook(note)
    yield seen
    hook.remove()


@pytest.fixture
def bench(installation: Installation, loaded: Sam3Segmenter) -> Bench:
    return Bench(
        installation=installation,
        lanes=GPU_LANES,
        owner=owner_name(),
        segmenters={SAM3: loaded},
        draining=lambda: False,
    )


@pytest.fixture
def make_client_of(
    installation: Installation, make_key: Callable[..., str]
) -> Callable[[str], Client]:
    """A client of an organisation, where SAM3's weights are."""
    models = Models(sam3_weights="the tiny ones")
    settings = installation.settings.model_copy(update={"models": models})
    with_weights = dataclasses.replace(installation, settings=settings)
    pepper = settings.http.key_pepper.get_secret_value()

    def make(organisation: str) -> Client:
        secret = make_key(organisation=organisation)
        caller: Caller = authenticate(installation.database, pepper, f"Bearer {secret}")
        return Client(with_weights, caller)

    return make


def _ask(client: Client, number: int, prompt: str = "person") -> PredictionId:
    return client.image(
        image=png_uri(PICTURES[number]),
        prompt=prompt,
        threshold=THRESHOLD,
        include_scores=True,
        include_boxes=True,
    )


def test_pictures_of_several_jobs_take_one_pass_and_get_what_each_gets_alone(
    make_client_of: Callable[[str], Client],
    bench: Bench,
    loaded: Sam3Segmenter,
    looks: list[int],
) -> None:
    client = make_client_of("mine")
    made = [_ask(client, number) for number in range(4)]
    bench.take_a_turn()
    assert looks == [4]
    for number, one in enumerate(made):
        record = client.read(one)
        assert record.status is Status.SUCCEEDED, record.error
        asked = ImagePrompts(("person",), threshold=THRESHOLD)
        (alone,) = loaded.segment([PICTURES[number]], [asked], lambda: False)
        assert record.scores == pytest.approx([one.score for one in alone], abs=2e-4)
        assert record.boxes is not None
        for box, expected in zip(record.boxes, alone, strict=True):
            assert box == pytest.approx(expected.box, abs=0.2)


def test_another_prompt_on_a_picture_costs_no_look_at_it(
    make_client_of: Callable[[str], Client], bench: Bench, looks: list[int]
) -> None:
    mine, theirs = make_client_of("mine"), make_client_of("theirs")
    for client, prompt, looked in (
        (mine, "person", 1),
        (mine, "red ball", 1),
        (theirs, "person", 2),  # nobody learns what another organisation has sent
        (mine, "a box", 2),
    ):
        made = _ask(client, 0, prompt)
        bench.take_a_turn()
        assert client.read(made).status is Status.SUCCEEDED
        assert sum(looks) == looked, prompt


def test_no_more_pictures_are_kept_than_the_setting_says(
    make_client_of: Callable[[str], Client], bench: Bench, looks: list[int]
) -> None:
    client = make_client_of("others")
    for number in (0, 1, 2, 2, 1, 0):
        _ask(client, number)
        bench.take_a_turn()
    assert looks == [1] * 4


def test_one_picture_in_several_jobs_of_a_batch_is_seen_once(
    make_client_of: Callable[[str], Client], bench: Bench, looks: list[int]
) -> None:
    client = make_client_of("again")
    made = [_ask(client, 4, prompt) for prompt in ("person", "red ball", "person")]
    bench.take_a_turn()
    assert looks == [1]
    assert [client.read(one).status for one in made] == [Status.SUCCEEDED] * 3
    assert client.read(made[0]).boxes == client.read(made[2]).boxes
