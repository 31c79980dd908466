"""Films that lie about themselves, or ask for more than a worker gives."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from tests.media.hostile.cases import NOT_A_VIDEO, READ, TOO_LARGE, TOO_LONG, Around, Case, case
from tests.media.hostile.pieces import (
    box,
    boxes,
    element,
    full_box,
    matroska,
    matroska_cluster,
    matroska_info,
    matroska_track,
    payload_of,
    replaced,
    riff_chunk,
    u32,
)
from tests.media.hostile.seeds import still

MOST = 0xFFFF_FFFF


def repeated(around: Around, frames: int, *, step: int = 512) -> bytes:
    """The one frame of a tiny film, shown so many times: four bytes for each."""
    film = around.seeds["tiny.mp4"]
    (offset,) = struct.unpack(">I", payload_of(film, b"stco")[8:12])
    (size,) = struct.unpack(">I", payload_of(film, b"stsz")[4:8] or bytes(4))
    size = size or int.from_bytes(payload_of(film, b"stsz")[12:16], "big")
    film = replaced(film, b"stts", full_box(b"stts", u32(1, frames, step)))
    film = replaced(film, b"stss", box(b"free"))
    film = replaced(film, b"ctts", box(b"free"))
    film = replaced(film, b"edts", box(b"free"))
    film = replaced(film, b"stsz", full_box(b"stsz", u32(size, frames)))
    film = replaced(film, b"stsc", full_box(b"stsc", u32(1, 1, 1, 1)))
    return replaced(film, b"stco", full_box(b"stco", u32(frames), u32(offset) * frames))


def _with(kind: bytes, new: bytes) -> Case:
    """The tiny film with one box exchanged: refused, or what is left of it is read."""
    return case(
        lambda a: replaced(a.seeds["tiny.mp4"], kind, new), READ, NOT_A_VIDEO, TOO_LARGE, TOO_LONG
    )


def _gap(around: Around) -> bytes:
    """Two frames, the second eleven hours later."""
    film = repeated(around, 2)
    return replaced(film, b"stts", full_box(b"stts", u32(2, 1, 12800 * 11 * 3600, 1, 512)))


def _deep(kind: bytes, depth: int) -> bytes:
    nested = b""
    for _ in range(depth):
        nested = box(kind, nested)
    return box(b"ftyp", b"isom", bytes(4)) + nested


def _compressed_moov(around: Around, told: int, data: bytes) -> bytes:
    """A `cmov` of QuickTime: the table of contents behind zlib."""
    packed = box(b"cmvd", u32(told), zlib.compress(data, 9))
    return box(b"ftyp", b"qt  ", bytes(4)) + box(
        b"moov", box(b"cmov", box(b"dcom", b"zlib"), packed)
    )


def _fragment_of(around: Around, frames: int) -> bytes:
    """A run of so many frames that take no byte."""
    kept = [(kind, data) for kind, data in boxes(around.seeds["fragments.mp4"]) if kind != b"mfra"]
    head = b"".join(box(kind, data) for kind, data in kept if kind in (b"ftyp", b"moov"))
    run = box(b"trun", u32(0, frames))
    base = box(b"tfhd", u32(0x20000 | 0x10, 1, 0))
    return head + box(b"moof", full_box(b"mfhd", u32(1)), box(b"traf", base, run)) + box(b"mdat")


def _many_tracks(around: Around) -> bytes:
    film = around.seeds["tiny.mp4"]
    parts = dict(boxes(film))
    tracks = box(b"trak", dict(boxes(parts[b"moov"]))[b"trak"]) * 1000
    moov = box(b"moov", box(b"mvhd", payload_of(film, b"mvhd")), tracks)
    return b"".join(moov if kind == b"moov" else box(kind, data) for kind, data in boxes(film))


def _tracks(number: int) -> bytes:
    tracks = [matroska_track(track, 40, 30) for track in range(1, number + 1)]
    return matroska(matroska_info(), element(0x1654AE6B, *tracks), matroska_cluster([_FRAME] * 3))


_FRAME = still("JPEG")
_TRACK = element(0x1654AE6B, matroska_track(1, 40, 30))


def film_of(*frames: bytes, info: bytes = b"", track: bytes = _TRACK) -> bytes:
    """A Matroska film of motion JPEG."""
    return matroska(info or matroska_info(), track, matroska_cluster(frames))


def declared(width: int, height: int) -> bytes:
    """A JPEG that says it is larger than it is."""
    at = _FRAME.index(b"\xff\xc0") + 5
    return _FRAME[:at] + struct.pack(">HH", height, width) + _FRAME[at + 4 :]


def _zlib_frames() -> bytes:
    """Frames behind Matroska's own zlib, each swelling a thousandfold."""
    packed = element(0x6D80, element(0x6240, element(0x5034, element(0x4254, b"\0"))))
    track = element(0x1654AE6B, matroska_track(1, 40, 30, packed))
    return film_of(*[zlib.compress(bytes(40_000_000), 9)] * 20, track=track)


def _avi(*lists: bytes, rate: int = 25, scale: int = 1, size: tuple[int, int] = (40, 30)) -> bytes:
    main = struct.pack("<14I", 40000, 0, 0, 16, 3, 0, 1, 0, *size, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIIIHHHH", b"vids", b"MJPG", 0, 0, 0, 0, scale, rate, 0, 3, 0, 0, 0, 0, 0, 0, 0
    )
    form = struct.pack("<IiiHH4sIiiII", 40, *size, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
    stream_list = riff_chunk(
        b"LIST", b"strl", riff_chunk(b"strh", stream), riff_chunk(b"strf", form), *lists
    )
    header = riff_chunk(b"LIST", b"hdrl", riff_chunk(b"avih", main), stream_list)
    frames = riff_chunk(b"LIST", b"movi", *[riff_chunk(b"00dc", _FRAME)] * 3)
    return riff_chunk(b"RIFF", b"AVI ", header, frames)


def _index_of_itself() -> bytes:
    """An OpenDML index whose every entry is the index again."""
    entries = struct.pack("<QII", 212, 4096, 100) * 64
    return riff_chunk(b"indx", struct.pack("<HBBI4s", 4, 0, 0, 64, b"00dc"), bytes(12), entries)


def _deep_flv() -> bytes:
    """Script data of objects in objects."""
    script = b"\x02\x00\x0aonMetaData" + b"\x03\x00\x01a" * 20_000
    tag = b"\x12" + len(script).to_bytes(3, "big") + bytes(7) + script
    return b"FLV\x01\x01" + u32(9, 0) + tag + u32(len(tag))


def gif(frames: int, size: tuple[int, int] = (1, 1)) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", *size) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\x04\0\x01\0\0\0" + b"\x2c" + bytes(4) + b"\1\0\1\0\0" + b"\x02\x02\x44\x01\0"
    return head + frame * frames + b"\x3b"


def _ogg(pages: int) -> bytes:
    page = b"OggS\0\2" + bytes(8) + b"%b" + bytes(8) + b"\1\x1e" + b"\x01vorbis" + bytes(23)
    return b"".join(page.replace(b"%b", struct.pack("<I", number)) for number in range(pages))


FILMS: Mapping[str, Case] = {
    "600,000 frames": case(lambda a: repeated(a, 600_000), READ),
    "a frame too many": case(lambda a: repeated(a, 1_000_001), TOO_LONG),
    "a gap of eleven hours": case(_gap, READ),
    "a frame of a day": case(lambda a: repeated(a, 2, step=12800 * 86400), TOO_LONG),
    "boxes in boxes": case(lambda _: _deep(b"moov", 100_000), NOT_A_VIDEO),
    "user data in user data": case(lambda _: _deep(b"udta", 100_000), NOT_A_VIDEO),
    "a box of no size": case(box(b"ftyp", b"isom") + box(b"moov", size=0), NOT_A_VIDEO),
    "a box shorter than its head": case(
        box(b"ftyp", b"isom") + box(b"moov", size=4) * 9999, NOT_A_VIDEO
    ),
    "a box of all bytes there are": case(
        box(b"ftyp", b"isom") + box(b"moov", u32(MOST, MOST), size=1), NOT_A_VIDEO
    ),
    "no stream": case(lambda a: replaced(a.seeds["tiny.mp4"], b"trak", b""), NOT_A_VIDEO),
    "a thousand streams": case(_many_tracks, READ),
    "a codec of no name": _with(
        b"stsd", full_box(b"stsd", u32(1), box(b"zzzz", bytes(6) + b"\0\1" + bytes(70)))
    ),
    "a million descriptions": _with(
        b"stsd", full_box(b"stsd", u32(1_000_000), box(b"avc1", bytes(78)) * 20_000)
    ),
    "sample sizes by the thousand million": _with(b"stsz", full_box(b"stsz", u32(1, 0x7FFF_FFFF))),
    "empty samples by the thousand million": _with(b"stsz", full_box(b"stsz", u32(0, MOST))),
    "samples of four gigabytes": _with(b"stsz", full_box(b"stsz", u32(MOST, 1))),
    "a chunk of a thousand million": _with(b"stsc", full_box(b"stsc", u32(1, 1, 0x7FFF_FFFF, 1))),
    "chunks beyond the end": _with(b"stco", full_box(b"stco", u32(1, MOST))),
    "times by the thousand million": _with(b"stts", full_box(b"stts", u32(1, MOST, MOST))),
    "negative times": _with(b"stts", full_box(b"stts", u32(1, 1, 0x8000_0000))),
    "offsets without end": _with(b"ctts", full_box(b"ctts", u32(1, MOST, 0x8000_0000))),
    "an edit list of a million": _with(
        b"edts",
        box(b"edts", full_box(b"elst", u32(1_000_000), u32(1, 0, 0x10000) * 300_000)),
    ),
    "an edit from before the start": _with(
        b"edts", box(b"edts", full_box(b"elst", u32(1, MOST, 0x8000_0001, 0)))
    ),
    "a clock of no ticks": _with(b"mdhd", full_box(b"mdhd", u32(0, 0, 0, MOST), b"\x55\xc4\0\0")),
    "a track of 65,535 x 65,535": _with(
        b"tkhd", full_box(b"tkhd", u32(0, 0, 1, 0, 1), bytes(52), u32(MOST, MOST))
    ),
    "a fragment of four thousand million frames": case(
        lambda a: _fragment_of(a, MOST), NOT_A_VIDEO, TOO_LARGE, TOO_LONG
    ),
    "a fragment of fifty million frames": case(
        lambda a: _fragment_of(a, 50_000_000), NOT_A_VIDEO, TOO_LARGE, TOO_LONG
    ),
    "a contents bomb": case(
        lambda a: _compressed_moov(a, 0xF000_0000, bytes(1 << 24)), NOT_A_VIDEO, TOO_LARGE
    ),
    "contents in contents": case(
        lambda a: _compressed_moov(a, 1 << 20, _compressed_moov(a, 1 << 10, b"")), NOT_A_VIDEO
    ),
    "a thousand million ticks a second": case(lambda a: a.seeds["rapid.mp4"], READ),
    "a frame in a quarter of an hour": case(lambda a: a.seeds["slow.mkv"], READ),
    "one pixel": case(lambda a: a.seeds["pixel.mkv"], READ),
    "sound alone": case(lambda a: a.seeds["sound.m4a"], NOT_A_VIDEO),
    "a film that grows to 16,000 x 16,000": case(
        film_of(_FRAME, declared(16_000, 16_000), _FRAME), READ
    ),
    "a film of 16,000 x 16,000 from the first frame": case(
        film_of(declared(16_000, 16_000)), NOT_A_VIDEO, TOO_LARGE
    ),
    "a track of 16,000 x 16,000": case(
        film_of(_FRAME, track=element(0x1654AE6B, matroska_track(1, 16_000, 16_000))), READ
    ),
    "a track of 4,294,967,295 pixels": case(
        film_of(_FRAME, track=element(0x1654AE6B, matroska_track(1, MOST, 1))), READ
    ),
    "frames of no bytes": case(lambda _: film_of(*[b""] * 30_000), NOT_A_VIDEO),
    "frames of one byte": case(lambda _: film_of(*[b"\xff"] * 30_000), NOT_A_VIDEO),
    "frames behind zlib": case(lambda _: _zlib_frames(), NOT_A_VIDEO, TOO_LARGE),
    "a thousand tracks": case(lambda _: _tracks(1000), READ),
    "a length that is no number": case(
        film_of(_FRAME, info=matroska_info(duration=float("nan"))), READ
    ),
    "a length without end": case(film_of(_FRAME, info=matroska_info(duration=float("inf"))), READ),
    "a negative length": case(film_of(_FRAME, info=matroska_info(duration=-1e300)), READ),
    "ticks of no length": case(film_of(_FRAME, info=matroska_info(scale=0)), READ, NOT_A_VIDEO),
    "ticks of a thousand years": case(
        film_of(_FRAME, _FRAME, info=matroska_info(scale=1 << 62)), READ, NOT_A_VIDEO, TOO_LONG
    ),
    "times that step back": case(
        matroska(
            matroska_info(),
            _TRACK,
            *(matroska_cluster([_FRAME], time) for time in (9000, 0, 5000, 0, 0)),
        ),
        READ,
    ),
    "an attachment of an exabyte": case(
        matroska(
            matroska_info(),
            _TRACK,
            element(0x1941A469, element(0x61A7, element(0x465C, b"a", size=1 << 50))),
        ),
        NOT_A_VIDEO,
    ),
    "an attached script": case(
        matroska(
            matroska_info(),
            _TRACK,
            element(
                0x1941A469,
                element(
                    0x61A7,
                    element(0x466E, b"../../a.sh"),
                    element(0x4660, b"image/jpeg"),
                    element(0x465C, b"#!/bin/sh\n"),
                ),
            ),
            matroska_cluster([_FRAME]),
        ),
        READ,
    ),
    "a link to another segment": case(
        matroska(
            element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40"), element(0x3EB923, bytes(16))),
            _TRACK,
            matroska_cluster([_FRAME]),
        ),
        READ,
    ),
    "an index of itself": case(
        matroska(
            element(
                0x114D9B74,
                element(0x4DBB, element(0x53AB, b"\x11\x4d\x9b\x74"), element(0x53AC, b"\0")),
            ),
            matroska_info(),
            _TRACK,
            matroska_cluster([_FRAME]),
        ),
        READ,
    ),
    "elements in elements": case(
        matroska(*[element(0x1043A770, size=(1 << 56) - 1)] * 10_000), NOT_A_VIDEO
    ),
    "an avi": case(_avi(), READ),
    "an avi of no frames a second": case(_avi(rate=0, scale=0), READ, NOT_A_VIDEO),
    "an avi of endless frames a second": case(_avi(rate=MOST), READ, NOT_A_VIDEO),
    "an avi of 16,000 x 16,000": case(_avi(size=(16_000, 16_000)), NOT_A_VIDEO, TOO_LARGE, READ),
    "an avi with an index of itself": case(_avi(_index_of_itself()), READ, NOT_A_VIDEO),
    "an avi with an index of gigabytes": case(
        lambda _: _avi() + riff_chunk(b"idx1", bytes(16), size=MOST), READ, NOT_A_VIDEO
    ),
    "lists in lists": case(
        riff_chunk(b"RIFF", b"AVI " + b"LIST\xff\xff\xff\x7fhdrl" * 50_000), NOT_A_VIDEO
    ),
    "objects in objects": case(lambda _: _deep_flv(), NOT_A_VIDEO),
    "nothing but sync bytes": case((b"\x47" + bytes(187)) * 5000, NOT_A_VIDEO),
    "the same tables for ever": case(lambda a: a.seeds["film.ts"][: 3 * 188] * 5000, NOT_A_VIDEO),
    "100,000 frames in a gif": case(lambda _: gif(100_000), READ),
    "a gif of 65,535 x 65,535": case(gif(1, (65_535, 65_535)), NOT_A_VIDEO, TOO_LARGE),
    "ten thousand streams in ogg": case(lambda _: _ogg(10_000), NOT_A_VIDEO),
    "an asf of empty objects": case(
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c" + bytes(100_000),
        NOT_A_VIDEO,
    ),
    "a picture before a film": case(lambda a: a.seeds["JPEG"] + a.seeds["film.mp4"], NOT_A_VIDEO),
    "a gif that is a script": case(b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//", NOT_A_VIDEO),
    "a film before a script": case(
        lambda a: a.seeds["film.mp4"] + b"<script>alert(1)</script>", READ
    ),
    "a picture": case(lambda a: a.seeds["PNG"], NOT_A_VIDEO),
    "a picture that moves": case(lambda a: a.seeds["AVIF"], NOT_A_VIDEO),
}
"""By name."""
