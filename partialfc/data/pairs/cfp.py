"""CFP's protocol: the folder `Protocol/Split/FP`, or `FF`, with a folder of pairs for each fold."""

from pathlib import Path, PurePosixPath

from partialfc.data.pairs.listed import Pair, PairList
from partialfc.errors import PairsError

SIDES = {"FF": ("F", "F"), "FP": ("F", "P")}  # frontal and profile, of the images of a pair
FILES = {"same.txt": True, "diff.txt": False}


def read_cfp(folder: Path) -> PairList:
    """The pairs of `.../Protocol/Split/FP` or `FF`: 01/same.txt, 01/diff.txt, 02/..., each line `3,14`.

    The numbers are those of `Protocol/Pair_list_F.txt` and `Pair_list_P.txt`, whose lines are
    `3 ../Data/Images/001/frontal/03.jpg`.

    Raises PairsError for another folder, and where one of these files lacks a number.
    """
    if folder.name not in SIDES:
        raise PairsError(
            f"{folder} is a folder; of folders, CFP's Protocol/Split/FP and Protocol/Split/FF are read"
        )
    lists = [_images(folder.parents[1] / f"Pair_list_{side}.txt") for side in SIDES[folder.name]]
    pairs = []
    folds = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
    for fold, path in enumerate(folds):
        for name, same in FILES.items():
            for number, line in _lines(path / name):
                match line.split(","):
                    case [first, second] if first.strip() in lists[0] and second.strip() in lists[1]:
                        names = lists[0][first.strip()], lists[1][second.strip()]
                        pairs.append(Pair(number, *names, same, fold))
                    case _:
                        raise PairsError(
                            f"{path / name}: line {number}: {line!r} must be two numbers of the lists of "
                            "images, Pair_list_F.txt and Pair_list_P.txt"
                        )
    return PairList(pairs, lambda name: PurePosixPath(name).parts[-3])


def _images(path: Path) -> dict[str, str]:
    """By number, the path of each image."""
    found = {}
    for number, line in _lines(path):
        words = line.split(None, 1)
        if len(words) != 2 or not words[0].isdigit() or len(PurePosixPath(words[1]).parts) < 3:
            raise PairsError(f"{path}: line {number}: {line!r} must be a number and an image's path")
        found[words[0]] = words[1]
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text()
    except OSError as error:
        raise PairsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PairsError(f"{path}: not UTF-8 text") from error
    numbered = enumerate(map(str.strip, text.split("\n")), start=1)
    return [(number, line) for number, line in numbered if line]
