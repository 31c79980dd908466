"""Telling content types by first bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from visionseg.artifacts.sniff import HEAD_BYTES, IMAGE_TYPES, VIDEO_TYPES, sniff

Clip = Callable[[str], Path]


def saved(kind: str) -> bytes:
    data = io.BytesIO()
    image = Image.new("RGB", (64, 48), "teal")
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(data)
    else:
        image.save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
        ("HEIF", "image/heic"),
    ],
)
def test_pictures_are_told_apart(kind: str, content_type: str) -> None:
    assert sniff(saved(kind)[:HEAD_BYTES]) == content_type
    assert content_type in IMAGE_TYPES


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("cfr.mp4", "video/mp4"),
        ("plain.mkv", "video/x-matroska"),
        ("hidden.webm", "video/webm"),
        ("packed.avi", "video/x-msvideo"),
        ("late.ts", "video/mp2t"),
        ("moving.gif", "image/gif"),
        ("moving.webp", "image/webp"),
    ],
)
def test_videos_are_told_apart(name: str, content_type: str, clip: Clip) -> None:
    assert sniff(clip(name).read_bytes()[:HEAD_BYTES]) == content_type
    assert content_type in VIDEO_TYPES


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", "video/quicktime"),
        (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "video/quicktime"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avifmiaf", "image/avif"),
        (b"FLV\x01\x05", "video/x-flv"),
        (b"OggS\x00", "video/ogg"),
        (b"\x00\x00\x01\xba\x44", "video/mpeg"),
        (b"\x00\x00\x01\xb3\x44", "video/mpeg"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "video/x-ms-asf"),
        ((bytes(4) + b"\x47" + bytes(187)) * 3, "video/mp2t"),
    ],
)
def test_rarer_containers_are_told_apart(head: bytes, content_type: str) -> None:
    assert sniff(head) == content_type


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x00",
        bytes(1024),
        b"BMW is a car, and this is a text about it",
        b"#EXTM3U\n",
        b"ffconcat version 1.0",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"GGGGGG",
    ],
)
def test_all_else_is_nothing(head: bytes) -> None:
    assert sniff(head) is None
