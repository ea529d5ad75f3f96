"""A real data set of thousands of classes without a download: characters, as installed fonts draw them."""

import errno
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from partialfc.data.glyphs.classes import ShowProgress, choose_classes, survey
from partialfc.data.glyphs.fonts import Face, Pen, find_fonts, load_faces, matplotlib_fonts
from partialfc.data.glyphs.pictures import paint, place, random_pose
from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.insightface import write_source
from partialfc.errors import ConfigError, DataError
from partialfc.files import replacing

log = logging.getLogger(__name__)

REPORT = "report.json"
FILES = frozenset({"train.rec", "train.idx", "property", "classes.txt", "pairs.bin", REPORT})
KIND = "partialfc glyphs"


@dataclass(frozen=True)
class GlyphReport:
    """What was built.

    faces: fonts that drew at least one image, of training or of the pairs.
    characters: training classes. images: training images.
    held_out: classes that only the pairs show. pairs: verification pairs, half of them genuine.
    dropped: counts by reason; the last word of a reason is the unit that is counted.
    seconds: wall time.
    """

    faces: int
    characters: int
    images: int
    held_out: int
    pairs: int
    dropped: dict[str, int]
    seconds: float


def build_glyphs(
    out: str | Path,
    *,
    fonts: Sequence[str | Path] = (),
    size: int = 32,
    min_faces: int = 8,
    holdout: int = 500,
    pairs: int = 12_000,
    colour: bool = False,
    jitter: float = 0.0,
    seed: int = 0,
    progress: ShowProgress = lambda stage, done, total: None,
) -> GlyphReport:
    """Draw every character that at least `min_faces` font faces draw differently, one image per face.

    Writes to the folder `out`, which appears when it is complete: `train.rec`, `train.idx` and `property` in
    InsightFace's layout, with PNG images; `classes.txt`, a line "class id, code point, character" for each
    class, separated by tabs; `pairs.bin`, verification pairs of characters that are not in training;
    `report.json`. The same arguments, fonts and library versions give the same bytes. An earlier set at `out`
    is replaced.

    A class is a letter, number, punctuation mark or symbol. Left out are blanks, boxes for missing
    characters, faces that draw only placeholders, a picture that an earlier face already gave, and characters
    that look like one with a lower code point in most of the faces that have both.

    fonts: folders, searched recursively for .ttf, .otf and .ttc files; none means those of matplotlib,
        about 2,100 characters. A file that cannot be read is logged and counted.
    size: height and width of the images in pixels, 8..512.
    min_faces: how many different pictures a character needs to become a class, at least 2.
    holdout: how many characters are kept out of training, for the pairs, at least 2.
    pairs: how many verification pairs, even; half show two faces of one character, half two characters.
    colour: RGB images instead of grey ones.
    jitter: 0..1, how much size, position, angle (up to 15 degrees) and the levels of ink and paper vary.
        0: black on white, centred, the larger side of the ink 0.8 of the image.
    seed: for everything random, at least 0. An image depends on seed, code point and face only.
    progress: called as progress(stage, done, total).

    Raises ConfigError for an argument out of range or more than the fonts give, DataError for fonts that
    cannot be used and for an `out` that holds anything else, PairsError for more pairs than there are.
    """
    started = time.monotonic()
    _check_range("size", size, 8, 512)
    _check_range("min_faces", min_faces, 2, None)
    _check_range("holdout", holdout, 2, None)
    _check_range("jitter", jitter, 0, 1)
    _check_range("seed", seed, 0, None)
    out = Path(out).absolute()
    _check_replaceable(out)

    faces, dropped = _usable_faces([Path(folder) for folder in fonts] or [matplotlib_fonts()])
    found = survey(faces, min_faces=min_faces, progress=progress)
    classes, dropped_glyphs = choose_classes(found, min_faces=min_faces)
    if len(classes) < holdout + 2:
        raise ConfigError(
            f"holdout is {holdout}, but {len(faces)} faces draw only {len(classes)} characters in "
            f"{min_faces} ways (min_faces) or more, and at least 2 must be left for training; "
            "lower holdout or min_faces, or add fonts"
        )
    unseen = set(np.random.default_rng(seed).choice(list(classes), holdout, replace=False).tolist())
    training = {code: drawn_by for code, drawn_by in classes.items() if code not in unseen}
    held_out = {code: drawn_by for code, drawn_by in classes.items() if code in unseen}
    painter = Painter(faces, size=size, channels=3 if colour else 1, jitter=jitter, seed=seed)
    settings = {"size": size, "min_faces": min_faces, "colour": colour, "jitter": jitter, "seed": seed}

    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as beside:
        beside.mkdir()
        source = _InMemory(list(painter.samples(held_out, "drawing pairs", progress)), len(held_out))
        write_pairs(beside / "pairs.bin", make_pairs(source, pairs=pairs, seed=seed))
        images = write_source(
            beside / "train.rec",
            painter.samples(training, "drawing images", progress),
            num_classes=len(training),
            image_size=(size, size),
        )
        lines = (f"{label}\tU+{code:04X}\t{chr(code)}\n" for label, code in enumerate(training))
        (beside / "classes.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        report = GlyphReport(
            faces=len({face for drawn_by in classes.values() for face in drawn_by}),
            characters=len(training),
            images=images,
            held_out=len(held_out),
            pairs=pairs,
            dropped=dict(sorted((dropped + dropped_glyphs).items())),
            seconds=time.monotonic() - started,
        )
        _write_report(beside / REPORT, report, settings)
        _check_replaceable(out)  # again: drawing may have taken minutes
    return report


class Painter:
    """Draws characters in faces; an image does not depend on what was drawn before it."""

    def __init__(self, faces: Sequence[Face], *, size: int, channels: int, jitter: float, seed: int) -> None:
        self._faces = faces
        self._pens = [Pen(face) for face in faces]
        self._keys = [crc32(face.name.encode()) for face in faces]
        self._size, self._channels, self._jitter, self._seed = size, channels, jitter, seed

    def image(self, code: int, face: int) -> bytes:
        """A PNG of a character that the face draws."""
        ink = self._pens[face].ink(self._faces[face].glyphs[code], side=2 * self._size)
        assert ink is not None, "the survey drops blanks"
        generator = np.random.default_rng((self._seed, code, self._keys[face]))
        coverage = place(ink, self._size, random_pose(generator, jitter=self._jitter))
        return encode_png(paint(coverage, generator, jitter=self._jitter, channels=self._channels))

    def samples(
        self, classes: dict[int, list[int]], stage: str, progress: ShowProgress
    ) -> Iterator[tuple[bytes, int]]:
        """Code point -> faces, as (image, position of the code point), class by class."""
        for label, (code, faces) in enumerate(classes.items()):
            for face in faces:
                yield self.image(code, face), label
            progress(stage, label + 1, len(classes))


class _InMemory:
    """Images in memory, as a Source."""

    def __init__(self, samples: list[tuple[bytes, int]], num_classes: int) -> None:
        self._samples = samples
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> tuple[bytes, int]:
        return self._samples[index]

    def name(self, index: int) -> str:
        return f"held-out image {index}"


def _check_range(field: str, value: float, low: int, high: int | None) -> None:
    if not (low <= value and (high is None or value <= high)):  # nan fails too
        raise ConfigError(
            f"{field} is {value}: it must be " + (f"at least {low}" if high is None else f"{low}..{high}")
        )


def _usable_faces(folders: Sequence[Path]) -> tuple[list[Face], Counter[str]]:
    """The faces of all fonts, without those whose character map is wrong; counts of the others by reason."""
    dropped: Counter[str] = Counter({"unreadable files": 0, "misnamed faces": 0})
    faces: list[Face] = []
    for path in find_fonts(folders):
        try:
            loaded = load_faces(path)
        except DataError as error:
            log.warning("left out: %s", error)
            dropped["unreadable files"] += 1
            continue
        faces += (face for face in loaded if not face.misnamed)
        dropped["misnamed faces"] += sum(face.misnamed for face in loaded)
    if not faces:
        where = ", ".join(map(str, folders))
        raise DataError(f"fonts: no usable font in {where}: {dict(dropped)}; name other folders")
    return faces, dropped


def _write_report(path: Path, report: GlyphReport, settings: dict[str, float]) -> None:
    """Everything but the seconds, so that equal sets are equal files."""
    content = {"kind": KIND, "settings": settings, **asdict(report)}
    del content["seconds"]
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _check_replaceable(out: Path) -> None:
    """DataError unless `out` is absent, an empty folder, or nothing but an earlier glyph set.

    PermissionError where it cannot be written: told before anything is drawn.
    """
    above = next(folder for folder in out.parents if folder.exists())
    if not os.access(above, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))
    if not out.exists() and not out.is_symlink():
        return
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else None
    if names == set() or (names is not None and names <= FILES and _is_glyph_report(out / REPORT)):
        return
    raise DataError(f"out: {out} exists and is not an earlier glyph set; name another folder or remove it")


def _is_glyph_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND
