"""Of which format an image is, and whether it is grey: by its first bytes, as `header.py` reads its size."""

import simplejpeg

from partialfc.data.images.header import JPEG, PNG
from partialfc.errors import ImageError

FORMATS = ("JPEG", "PNG", "BMP", "WebP", "Netpbm")
_STARTS = {JPEG: "JPEG", PNG: "PNG", b"BM": "BMP", b"RIFF": "WebP"}
_NETPBM_GREY = (b"P1", b"P4", b"P2", b"P5")
_PNG_GREY = (0, 4)  # colour types: grey, and grey with alpha


def format_of(data: bytes) -> str:
    """One of FORMATS; ImageError for other data."""
    for start, name in _STARTS.items():
        if data.startswith(start):
            return name
    if data[:1] == b"P" and data[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6"):
        return "Netpbm"
    raise ImageError(f"no JPEG, PNG, BMP, WebP or Netpbm: {len(data)} bytes that start with {data[:8]!r}")


def is_grey(data: bytes) -> bool:
    """Whether the image is stored without colours. A coloured one may still look grey."""
    match format_of(data):
        case "JPEG":
            try:
                return bool(simplejpeg.decode_jpeg_header(data)[2] == "Gray")
            except ValueError as error:
                raise ImageError(f"damaged JPEG of {len(data)} bytes: {error}") from error
        case "PNG":
            return len(data) > 25 and data[25] in _PNG_GREY
        case "Netpbm":
            return data[:2] in _NETPBM_GREY
    return False
