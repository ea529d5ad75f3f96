"""One photo to its crops."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from partialfc.data.align.crop import centre, warp
from partialfc.data.align.faces import Face, Finder, NoFace, Several, chosen
from partialfc.data.align.similarity import misfit, similarity
from partialfc.data.align.template import template
from partialfc.data.images.codec import Pixels, decode, encode_jpeg, encode_png
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.images.orientation import upright
from partialfc.errors import DataError, ImageError

Format = Literal["jpg", "png"]
Outcome = Literal["aligned", "centre", "no face", "several faces", "bad landmarks", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropping:
    """size: (width, height) of the crops; none, several: what a photo without a face, or with several, gives.

    quality: of JPEG, 1 to 100. max_pixels: a photo whose header claims more cannot be read.
    """

    size: tuple[int, int] = (112, 112)
    none: NoFace = "skip"
    several: Several = "largest"
    format: Format = "jpg"
    quality: int = 95
    max_pixels: int = MAX_PIXELS

    def settings(self) -> dict[str, Any]:
        return asdict(self) | {"size": "x".join(map(str, self.size))}


@dataclass(frozen=True, slots=True)
class Crop:
    """An encoded image, and the face in it; None where it is the photo's middle."""

    image: bytes
    face: Face | None = None
    misfit: float | None = (
        None  # pixels between the face's landmarks and the template's, see similarity.misfit
    )


@dataclass(frozen=True, slots=True)
class Aligned:
    """What became of a photo: crops if its outcome is "aligned" or "centre". faces: how many were found."""

    outcome: Outcome
    faces: int = 0
    crops: tuple[Crop, ...] = ()
    message: str = ""


def align_photo(data: bytes, photo: str, finder: Finder, cropping: Cropping) -> Aligned:
    """The crops of an encoded photo; `photo`: its name, as `finder` knows it."""
    try:
        pixels = upright(decode(data, max_pixels=cropping.max_pixels), data)
    except ImageError as error:
        return Aligned("unreadable", message=str(error))
    faces = finder(photo, pixels)
    if not faces and cropping.none == "centre":
        return Aligned("centre", 0, (Crop(_encoded(centre(pixels, size=cropping.size), cropping)),))
    if not faces:
        return Aligned("no face")
    picked = chosen(faces, cropping.several, height=pixels.shape[0], width=pixels.shape[1])
    if not picked:
        return Aligned("several faces", len(faces))
    try:
        return Aligned("aligned", len(faces), tuple(_crop(pixels, face, cropping) for face in picked))
    except DataError as error:
        return Aligned("bad landmarks", len(faces), message=str(error))


def _crop(pixels: Pixels, face: Face, cropping: Cropping) -> Crop:
    target = template(*cropping.size)
    matrix = similarity(face.landmarks, target)
    image = _encoded(warp(pixels, matrix, size=cropping.size), cropping)
    return Crop(image, face, misfit(face.landmarks, target, matrix))


def _encoded(pixels: Pixels, cropping: Cropping) -> bytes:
    return encode_png(pixels) if cropping.format == "png" else encode_jpeg(pixels, quality=cropping.quality)
