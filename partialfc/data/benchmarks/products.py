"""Retrieval benchmarks of products: Stanford Online Products and In-Shop Clothes Retrieval."""

from pathlib import Path

from partialfc.data.benchmarks.image_set import ImageSet, of_files
from partialfc.errors import DataError

SOP_LIST = "Ebay_test.txt"
IN_SHOP_LISTS = ("Eval/list_eval_partition.txt", "list_eval_partition.txt")


def is_online_products(folder: Path) -> bool:
    return (folder / SOP_LIST).is_file()


def read_online_products(folder: Path) -> ImageSet:
    """The test images of Stanford Online Products: each is looked for among the others.

    `Ebay_test.txt` has a head line `image_id class_id super_class_id path`, and such a line for each image,
    the path relative to the folder. Song et al. 2016, "Deep Metric Learning via Lifted Structured Feature
    Embedding". Raises DataError, with the line, where it is not so.
    """
    rows = _rows(folder / SOP_LIST, head=1, columns=4)
    return of_files(folder, [row[3] for row in rows], [row[1] for row in rows])


def in_shop_list(folder: Path) -> Path | None:
    """The list of In-Shop's parts, where the folder has it."""
    return next((folder / name for name in IN_SHOP_LISTS if (folder / name).is_file()), None)


def read_in_shop(folder: Path) -> tuple[ImageSet, ImageSet]:
    """The queries and the gallery of In-Shop Clothes Retrieval.

    `list_eval_partition.txt` has the number of images, a head line `image_name item_id evaluation_status`,
    and such a line for each image: its path relative to the folder, the item, and train, query or gallery.
    Liu et al. 2016, "DeepFashion: Powering Robust Clothes Recognition and Retrieval". Where the folder has no
    `img` but `Img/img`, as it is downloaded, that is taken. Raises DataError, with the line, where the list
    is not so.
    """
    listing = in_shop_list(folder)
    assert listing is not None
    rows = _rows(listing, head=2, columns=3)
    images = folder if (folder / "img").is_dir() or not (folder / "Img").is_dir() else folder / "Img"
    found = []
    for part in ("query", "gallery"):
        own = [row for row in rows if row[2] == part]
        if not own:
            raise DataError(f"{listing}: has no image with the status {part}")
        found.append(of_files(images, [row[0] for row in own], [row[1] for row in own]))
    return found[0], found[1]


def _rows(path: Path, *, head: int, columns: int) -> list[list[str]]:
    """The fields of each line after the head, which blanks separate."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines[head:], start=head + 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != columns:
            raise DataError(f"{path}: line {number}: {line[:80]!r} has {len(fields)} fields, not {columns}")
        rows.append(fields)
    if not rows:
        raise DataError(f"{path}: names no image")
    return rows
