"""Which models there are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import answers
from api.guards import SegmentCaller
from api.service import service_of
from visionseg.contract.models import MODELS, ModelCard
from visionseg.contract.reply import ModelList, ServedModel
from visionseg.predictions.engines import available

router = APIRouter(tags=["models"])


@router.get(
    "/v1/vision-segment/models",
    response_model=None,
    responses={200: {"model": ModelList, "description": "The models"}},
)
async def list_models(request: Request, _caller: SegmentCaller) -> Response:
    """The models by name: what each takes, and whether it can answer here."""
    settings = service_of(request).installation.settings.models
    served = [_served(card, here=available(card.name, settings)) for card in MODELS.values()]
    return answers.as_json(ModelList(models=served))


def _served(card: ModelCard, *, here: bool) -> ServedModel:
    return ServedModel(
        name=card.name,
        provider=card.provider,
        description=card.description,
        text=card.text,
        points=card.points,
        boxes=card.boxes,
        video=card.video,
        available=here,
    )
