"""Text that names other files: what ffmpeg would open for whoever asks it to."""

from __future__ import annotations

from collections.abc import Mapping

from tests.media.hostile.cases import NOT_A_VIDEO, Around, Case, case
from tests.media.hostile.pieces import box, full_box, payload_of, replaced, u32


def _playlist(around: Around, target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()


def _dash(around: Around) -> bytes:
    return (
        '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet mimeType="video/mp4">'
        f"<Representation id='1'><BaseURL>file://{around.secret}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>"
    ).encode()


def _svg(around: Around) -> bytes:
    picture = f'<image xlink:href="file://{around.secret}" width="9" height="9"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg">{picture}</svg>'.encode()


def _behind_magic(head: bytes, around: Around) -> bytes:
    return head + _playlist(around, str(around.secret))


def _elsewhere(around: Around, kind: bytes, where: bytes) -> bytes:
    """A film whose samples lie in another file, so its own hold nothing."""
    film = around.seeds["tiny.mp4"]
    reference = full_box(b"dref", u32(1), box(kind, bytes(4), where))
    moved = replaced(film, b"dref", reference)
    assert payload_of(moved, b"dref") != payload_of(film, b"dref")
    return replaced(moved, b"mdat", box(b"mdat"))


def _alias(around: Around) -> bytes:
    """A QuickTime alias record with an absolute path (type 18) and a folder (type 2)."""
    path = str(around.secret).encode()
    fixed = bytes(2) + u32(150).replace(b"\0\0", b"", 1) + bytes(2 + 28 + 12 + 66 + 16)
    items = b"".join(
        kind.to_bytes(2, "big") + len(text).to_bytes(2, "big") + text + bytes(len(text) % 2)
        for kind, text in ((2, path), (18, path))
    )
    return _elsewhere(around, b"alis", fixed + items + b"\xff\xff\0\0")


SCRIPTS: Mapping[str, Case] = {
    "m3u8 of a file": case(lambda a: _playlist(a, str(a.secret)), NOT_A_VIDEO),
    "m3u8 of a file url": case(lambda a: _playlist(a, f"file://{a.secret}"), NOT_A_VIDEO),
    "m3u8 of a neighbour": case(lambda a: _playlist(a, a.secret.name), NOT_A_VIDEO),
    "m3u8 of an address": case(
        lambda a: _playlist(a, f"http://127.0.0.1:{a.port}/a.ts"), NOT_A_VIDEO
    ),
    "m3u8 of a subfile": case(
        lambda a: _playlist(a, f"subfile,,start,0,end,9,,:{a.secret}"), NOT_A_VIDEO
    ),
    "m3u8 with a mark of order": case(
        lambda a: b"\xef\xbb\xbf" + _playlist(a, a.secret.name), NOT_A_VIDEO
    ),
    "m3u8 behind ftyp": case(lambda a: _behind_magic(b"\0\0\0\x18ftypmp42", a), NOT_A_VIDEO),
    "m3u8 behind ebml": case(lambda a: _behind_magic(b"\x1a\x45\xdf\xa3", a), NOT_A_VIDEO),
    "m3u8 behind riff": case(lambda a: _behind_magic(b"RIFF\0\1\0\0AVI ", a), NOT_A_VIDEO),
    "m3u8 behind a sync byte": case(
        lambda a: _playlist(a, a.secret.name).ljust(188) + (b"G" + bytes(187)) * 9, NOT_A_VIDEO
    ),
    "ffconcat of a neighbour": case(
        lambda a: f"ffconcat version 1.0\nfile {a.secret.name}\n".encode(), NOT_A_VIDEO
    ),
    "ffconcat of a path": case(
        lambda a: f"ffconcat version 1.0\nfile '{a.secret}'\n".encode(), NOT_A_VIDEO
    ),
    "ffconcat of an address": case(
        lambda a: f"ffconcat version 1.0\nfile tcp://127.0.0.1:{a.port}\n".encode(), NOT_A_VIDEO
    ),
    "dash manifest": case(_dash, NOT_A_VIDEO),
    "svg": case(_svg, NOT_A_VIDEO),
    "postscript": case(b"%!PS-Adobe-3.0\n(/etc/passwd) (r) file\nshowpage\n", NOT_A_VIDEO),
    "pdf": case(b"%PDF-1.7\n1 0 obj\n<< /F (/etc/passwd) >>\nendobj\n", NOT_A_VIDEO),
    "sdp": case(
        lambda a: f"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video {a.port} RTP/AVP 96\r\n".encode(),
        NOT_A_VIDEO,
    ),
    "html": case(b"<!doctype html><video src='/etc/passwd'></video>", NOT_A_VIDEO),
    "shell": case(b"#!/bin/sh\ntouch /tmp/hit\n", NOT_A_VIDEO),
    "zip": case(b"PK\x03\x04" + bytes(200), NOT_A_VIDEO),
    "nothing": case(b"", NOT_A_VIDEO),
    "one byte": case(b"\0", NOT_A_VIDEO),
    "zeros": case(bytes(100_000), NOT_A_VIDEO),
    "samples in a file": case(
        lambda a: _elsewhere(a, b"url ", f"file://{a.secret}".encode() + b"\0"), NOT_A_VIDEO
    ),
    "samples in a neighbour": case(
        lambda a: _elsewhere(a, b"url ", a.secret.name.encode() + b"\0"), NOT_A_VIDEO
    ),
    "samples at an address": case(
        lambda a: _elsewhere(a, b"url ", f"http://127.0.0.1:{a.port}/\0".encode()), NOT_A_VIDEO
    ),
    "samples behind an alias": case(_alias, NOT_A_VIDEO),
}
"""By name."""
