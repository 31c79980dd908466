"""Compiling a network's encoder by torch, and what is told where that does not work."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch._dynamo.exc import TorchDynamoException

from visionseg.artifacts.weights import WeightsError


def compile_encoder(encoder: nn.Module, backend: str, run: Callable[[], None]) -> None:
    """Has an encoder compiled, which its first use does; `run` is that.

    Raises `WeightsError` where torch has no such backend, or that lacks something here.
    """
    try:
        encoder.compile(backend=backend, dynamic=False)
        run()
    except TorchDynamoException as error:
        why = str(error).partition("\n")[0]
        raise WeightsError(f"SAM3_COMPILE={backend} does not work here: {why}") from error
