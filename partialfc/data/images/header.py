"""How large an image is, and what decoding it would cost: before a decoder takes memory for it."""

import re
import struct
from collections.abc import Callable

import simplejpeg

from partialfc.errors import ImageError

MAX_PIXELS = 64_000_000  # of one image, unless asked for otherwise: 192 MB as RGB
MAX_SCANS = 100  # of a JPEG; encoders write about ten

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
BMP = b"BM"
WEBP = b"RIFF"
_NETPBM_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*(\d{1,9})(?=\s)")  # after blanks and comments
_SCAN, _END = 0xDA, 0xD9  # a JPEG's markers, and those that nothing belongs to
_ALONE = (0x01, 0xD8)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # not what stands within compressed data


def check_cost(data: bytes, max_pixels: int = MAX_PIXELS) -> None:
    """ImageError unless this is a JPEG, PNG, BMP, WebP or Netpbm image of at most `max_pixels` pixels.

    Nothing is decoded, so this takes no memory whatever size its header claims. A JPEG may have MAX_SCANS:
    each may go over all pixels in 30 bytes, so that some megabytes could take a decoder minutes.
    """
    height, width = read_size(data)
    if height * width > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels by its header: images may have {max_pixels:,} (max_pixels); "
            "shrink it, or raise max_pixels if memory allows"
        )
    if data.startswith(JPEG) and _has_many_scans(data):
        raise ImageError(f"JPEG of {len(data)} bytes with over {MAX_SCANS} scans: save it with fewer")


def _has_many_scans(jpeg: bytes) -> bool:
    """Whether there are more than MAX_SCANS before its end, which a phone's film may follow."""
    if jpeg.count(bytes([0xFF, _SCAN])) <= MAX_SCANS:
        return False
    scans, place = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(jpeg, place)) is not None:
        place, kind = marker.end(), marker[0][1]
        if kind == _END:
            break
        scans += kind == _SCAN
        if kind not in _ALONE:
            place += int.from_bytes(jpeg[place : place + 2])  # the length of what belongs to it
    return scans > MAX_SCANS


def read_size(data: bytes) -> tuple[int, int]:
    """(height, width) by the header of a JPEG, PNG, BMP, WebP or Netpbm image; ImageError for other data."""
    if not data:
        raise ImageError("the file is empty, 0 bytes")
    for start, read in _READERS.items():
        if data.startswith(start):
            try:
                return read(data)
            except struct.error as error:
                raise ImageError(f"damaged image of {len(data)} bytes: its header is cut short") from error
            except ValueError as error:
                raise ImageError(f"damaged image of {len(data)} bytes: {error}") from error
    raise ImageError(f"no JPEG, PNG, BMP, WebP or PGM: {len(data)} bytes that start with {data[:8]!r}")


def _jpeg(data: bytes) -> tuple[int, int]:
    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    return height, width


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(height), abs(width)  # a negative height means that the first row is the top one


def _webp(data: bytes) -> tuple[int, int]:
    """Lossy, lossless, or with extras such as alpha and animation; libwebp's container specification."""
    match data[8:16]:
        case b"WEBPVP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return height & 0x3FFF, width & 0x3FFF
        case b"WEBPVP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        case b"WEBPVP8X":
            low, high = struct.unpack_from("<IH", data, 24)
            return (low >> 24 | high << 8) + 1, (low & 0xFFFFFF) + 1
    raise ValueError("it is no WebP")


def _bitmap(data: bytes) -> tuple[int, int]:
    width, height = _netpbm_numbers(data, 2)
    return height, width


def _levels(data: bytes) -> tuple[int, int]:
    """A Netpbm image of grey or colour. OpenCV does not stretch other levels than these to 0..255."""
    width, height, largest = _netpbm_numbers(data, 3)
    if largest not in (255, 65535):
        raise ValueError(f"its largest value is {largest}: it must be 255 or 65535, convert it to PNG")
    return height, width


def _netpbm_numbers(data: bytes, count: int) -> list[int]:
    """The first numbers after the two letters that a Netpbm image starts with."""
    numbers, end = list[int](), 2
    while len(numbers) < count:
        token = _NETPBM_TOKEN.match(data, end)
        if token is None:
            raise ValueError(f"its header has {len(numbers)} of {count} numbers")
        numbers.append(int(token[1]))
        end = token.end()
    return numbers


_READERS: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    JPEG: _jpeg,
    PNG: _png,
    BMP: _bmp,
    WEBP: _webp,
    **dict.fromkeys((b"P1", b"P4"), _bitmap),
    **dict.fromkeys((b"P2", b"P3", b"P5", b"P6"), _levels),
}
