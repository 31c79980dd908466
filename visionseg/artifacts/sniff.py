"""What a file is, told by its first bytes alone; a client's word for it counts for nothing."""

from __future__ import annotations

HEAD_BYTES = 1024
"""How much of a file `sniff` wants to see."""

IMAGE_TYPES = frozenset(
    {
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/heic",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
    }
)
VIDEO_TYPES = frozenset(
    {
        "image/gif",
        "image/webp",
        "video/mp2t",
        "video/mp4",
        "video/mpeg",
        "video/ogg",
        "video/quicktime",
        "video/webm",
        "video/x-flv",
        "video/x-matroska",
        "video/x-ms-asf",
        "video/x-msvideo",
    }
)

_PREFIXES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"FLV\x01", "video/x-flv"),
    (b"OggS", "video/ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
)
_RIFF_FORMS = {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_TRANSPORT_PACKETS = ((0, 188), (4, 192))  # offset of the sync byte, packet size in bytes


def sniff(head: bytes) -> str | None:
    """The content type of an image or a video from its first `HEAD_BYTES`, or None for all else.

    Text of any kind (playlists, concat scripts, SVG, PostScript) is None. Types are those of
    `IMAGE_TYPES` and `VIDEO_TYPES`; GIF and WebP are in both.
    """
    for prefix, content_type in _PREFIXES:
        if head.startswith(prefix):
            return content_type
    return _riff(head) or _boxes(head) or _matroska(head) or _bitmap(head) or _transport(head)


def _riff(head: bytes) -> str | None:
    return _RIFF_FORMS.get(head[8:12]) if head.startswith(b"RIFF") else None


def _boxes(head: bytes) -> str | None:
    """ISO base media (ISO/IEC 14496-12): a box begins with its size and its four-letter type."""
    if head[4:8] in _QUICKTIME_ATOMS:
        return "video/quicktime"
    if head[4:8] != b"ftyp":
        return None
    brand, size = head[8:12], int.from_bytes(head[:4], "big")
    brands = {brand, *(head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "image/avif"
    if brand in _HEIF_BRANDS:
        return "image/heic"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return "video/webm" if b"webm" in head[:64] else "video/x-matroska"


def _bitmap(head: bytes) -> str | None:
    """A BMP has four reserved bytes of 0 and a header of at least 12 bytes; plain text has not."""
    if head.startswith(b"BM") and head[6:10] == bytes(4) and head[14:15] >= b"\x0c":
        return "image/bmp"
    return None


def _transport(head: bytes) -> str | None:
    for offset, size in _TRANSPORT_PACKETS:
        syncs = head[offset : offset + 3 * size : size]
        if syncs == b"\x47\x47\x47":
            return "video/mp2t"
    return None
