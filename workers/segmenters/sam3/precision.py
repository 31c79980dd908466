"""How numbers are held: full precision on a CPU, half of the weights in bfloat16 on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

_HEAVY = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True, slots=True)
class Numerics:
    """Where and how the model computes."""

    device: torch.device
    bfloat16: bool

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Runs what is inside without gradients and, in bfloat16, under autocast.

        Raises `MemoryError` where the GPU's memory is full, after freeing what is not in use.
        """
        kind = self.device.type
        try:
            with (
                torch.inference_mode(),
                torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16),
            ):
                yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error


def choose(device: str, precision: str) -> Numerics:
    """The numerics for two settings, each of which may be `auto`.

    Raises `ValueError` for a device that is not there or cannot be used, or an unknown word.
    """
    if device != "cpu":
        has_gpu = _has_gpu()
        if device == "auto":
            device = "cuda" if has_gpu else "cpu"
        elif device.startswith("cuda") and not has_gpu:
            raise ValueError(f"SAM3_DEVICE is {device}, but torch sees no GPU here")
    if precision not in {"auto", "bf16", "fp32"}:
        raise ValueError(f"SAM3_PRECISION is {precision}, not one of: auto, bf16, fp32")
    half = precision == "bf16" or (precision == "auto" and device.startswith("cuda"))
    return Numerics(torch.device(device), half)


def _has_gpu() -> bool:
    """Whether torch can use a GPU.

    Raises `ValueError` where there is one that it cannot use, such as for a driver that is too old:
    torch only warns then, and a worker would compute on the CPU without anybody's noticing.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if told and not found:
        raise ValueError(
            f"torch {torch.__version__} cannot work with the GPU that is here: {told[0].message} "
            "Bring its driver up to date, or set SAM3_DEVICE to cpu."
        )
    return found


def name_of(device: torch.device) -> str:
    """`cpu`, or what the GPU calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def cast_heavy_weights(model: nn.Module) -> None:
    """Holds the weights of linear and convolution layers in bfloat16, and nothing else.

    Under autocast this gives exactly what full-precision weights give, in half the memory;
    casting the whole model would round coordinates, which moves boxes by pixels.
    """
    for module in model.modules():
        if isinstance(module, _HEAVY):
            module.to(torch.bfloat16)
