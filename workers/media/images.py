"""A client's picture as pixels, or a refusal that says why not."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageFile, ImageOps

from visionseg.artifacts.sniff import HEAD_BYTES, IMAGE_TYPES, sniff
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.limits import Limits
from workers.media.pixels import Rgb
from workers.media.source import Source

_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def open_image(source: Source, limits: Limits) -> Rgb:
    """The upright picture, height x width x 3, 8-bit RGB; the first frame of an animated one.

    Turned as EXIF says; transparent pixels stand on white; 16-bit grey keeps its upper 8 bits.
    Raises `Refusal`: not_an_image, or input_too_large before any pixel is decoded.
    """
    with source.open("rb") as file:
        if sniff(file.read(HEAD_BYTES)) not in IMAGE_TYPES:
            raise Refusal(ErrorCode.NOT_AN_IMAGE)
    register_heif()
    try:
        return _read(source, limits)
    except (Refusal, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(limits) from error
    except Exception as error:  # the decoders of eight formats raise all kinds
        raise Refusal(ErrorCode.NOT_AN_IMAGE) from error


def _read(source: Source, limits: Limits) -> Rgb:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata does not make a picture unreadable
        with source.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > limits.image_pixels:
                raise _too_large(limits)
            _halve_clear_colour(image)
            return np.array(to_rgb(ImageOps.exif_transpose(image)), order="C")


def _halve_clear_colour(image: Image.Image) -> None:
    """Pillow keeps the upper 8 of 16 bits of each colour, but all bits of the one that is clear."""
    clear = image.info.get("transparency")
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    if isinstance(clear, tuple) and tiles and tiles[0].args == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB, transparent pixels on white."""
    if image.mode in _DEEP_GREY:
        grey = np.asarray(image)
        shallow = _upper_bits(grey)
        shallow[grey == image.info.get("transparency", -1)] = 255
        return Image.fromarray(shallow).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")


def _upper_bits(grey: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Pillow's own conversion would turn every value above 255 into white."""
    upper: npt.NDArray[np.uint8] = np.clip(grey.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    return upper


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        ErrorCode.INPUT_TOO_LARGE,
        f"The image has more than {limits.image_pixels} pixels, which is the limit.",
        detail_zh=f"图片超过了 {limits.image_pixels} 像素的上限。",
    )


@cache
def register_heif() -> None:
    """Teaches Pillow HEIF; later calls do nothing."""
    pillow_heif.register_heif_opener()
