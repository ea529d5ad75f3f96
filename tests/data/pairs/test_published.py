"""Lists in the layouts of published sets, each written as its authors write it, over synthetic images."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.files import PairSet, VideoPairs, read_pairs, read_pairs_or_videos
from partialfc.errors import PairsError

LFW = """2\t2
Ann_Bo\t1\t2
Cy\t1\t10
Ann_Bo\t1\tCy\t1
Ann_Bo\t2\tDee\t1
Cy\t1\t2
Dee\t1\t2
Cy\t10\tDee\t2
Ann_Bo\t1\tDee\t1
"""
LFW_VIEW_1 = """2
Ann_Bo\t1\t2
Cy\t1\t10
Ann_Bo\t1\tCy\t1
Ann_Bo\t2\tDee\t1
"""
RFW = LFW.partition("\n")[2]
CALFW = """Ann_Bo_0001.jpg 1
Ann_Bo_0002.jpg 1
Cy_0001.jpg 2
Cy_0010.jpg 2
Ann_Bo_0001.jpg 0
Cy_0001.jpg 0
Ann_Bo_0002.jpg 0
Dee_0001.jpg 0
"""
SLLFW = """Ann_Bo/Ann_Bo_0001.jpg
Ann_Bo/Ann_Bo_0002.jpg
Cy/Cy_0001.jpg
Cy/Cy_0010.jpg
Ann_Bo/Ann_Bo_0001.jpg
Cy/Cy_0001.jpg
Ann_Bo/Ann_Bo_0002.jpg
Dee/Dee_0001.jpg
"""
YTF = """split number, pair number, first name, second name, is same (0 no/1 yes)
1, 1, Ann_Bo/0, Ann_Bo/3, 1
1, 2, Ann_Bo/0, Cy/1, 0
2, 1, Cy/1, Cy/4, 1
2, 2, Ann_Bo/3, Cy/4, 0
"""
FOUR_PAIRS = [[0, 0], [1, 1], [0, 1], [0, 2]]
PEOPLE = [("Ann_Bo", 1), ("Ann_Bo", 2), ("Cy", 1), ("Cy", 2), ("Cy", 10), ("Dee", 1), ("Dee", 2)]


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.full((4, 4, 3), value, np.uint8)))


def shown(pairs: PairSet) -> list[str]:
    """The pairs by the number that `picture` gave each image."""
    pictures = {encode_png(np.full((4, 4, 3), value, np.uint8)): value for value in range(20)}
    numbers = [pictures[image] for image in pairs.images]
    return [f"{a} {b}" for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


@pytest.fixture(params=["jpg", "png"])
def people(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Folders of people, and all of their images in one, under the list's suffix or another one."""
    for value, (name, number) in enumerate(PEOPLE):
        for folder in (tmp_path / "faces" / name, tmp_path / "flat"):
            picture(folder / f"{name}_{number:04d}.{request.param}", value)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "folder", "folds"),
    [
        (LFW_VIEW_1, "faces", None),
        (LFW_VIEW_1.replace("\t", "   "), "faces", None),
        (LFW_VIEW_1.partition("\n")[2], "faces", None),
        (CALFW, "flat", None),
        (CALFW.replace("\n", "\r\n"), "flat", None),
        (SLLFW, "faces", None),
    ],
    ids=["LFW view 1", "blanks", "RFW", "CALFW and CPLFW", "of Windows", "SLLFW"],
)
def test_a_published_list_is_read_as_its_authors_wrote_it(people, text, folder, folds):
    (people / "list.txt").write_bytes(text.encode())
    pairs = read_pairs(people / "list.txt", images=people / folder)
    assert shown(pairs) == ["0 1", "2 4", "0 2", "1 5"]
    assert pairs.same.tolist() == [True, True, False, False]
    assert pairs.identities.tolist() == FOUR_PAIRS
    assert pairs.folds is folds
    assert pairs.fold_numbers(2).tolist() == [0, 1, 0, 1]  # one of each kind, in order


def test_lfw_has_its_sets_as_folds(people):
    (people / "pairs.txt").write_text(LFW)
    pairs = read_pairs(people / "pairs.txt", images=people / "faces")
    assert shown(pairs) == ["0 1", "2 4", "0 2", "1 5", "2 3", "5 6", "4 6", "0 5"]
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold_numbers(None).tolist() == [0] * 4 + [1] * 4
    assert pairs.fold_numbers(4) == 4  # as asked for
    (people / "faces" / "pairs.txt").write_text(LFW)
    assert shown(read_pairs(people / "faces" / "pairs.txt")) == shown(pairs)  # beside the list


def test_a_list_of_ones_own_has_ten_folds_unless_asked_otherwise(people):
    (people / "list.txt").write_text("Ann_Bo/Ann_Bo_0001.jpg Cy/Cy_0001.jpg 0\n" * 6)
    pairs = read_pairs(people / "list.txt", images=people / "faces")
    assert shown(pairs) == ["0 2"] * 6
    assert (pairs.fold_numbers(None), pairs.fold_numbers(3)) == (10, 3)


@pytest.mark.parametrize("header", [True, False])
def test_ytf_is_pairs_of_folders_of_frames(tmp_path, header):
    for value, video in enumerate(("Ann_Bo/0", "Ann_Bo/3", "Cy/1", "Cy/4")):
        for frame in range(value + 1):
            picture(tmp_path / video / f"aligned_detect_{frame}.jpg", value)
        (tmp_path / video / "notes.txt").write_text("no frame")
    (tmp_path / "splits.txt").write_text(YTF if header else YTF.partition("\n")[2])
    pairs = read_pairs_or_videos(tmp_path / "splits.txt")
    assert isinstance(pairs, VideoPairs)
    assert pairs.starts.tolist() == [0, 1, 3, 6, 10]
    assert pairs.videos.tolist() == [[0, 1], [0, 2], [2, 3], [1, 3]]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold_numbers(None).tolist() == [0, 0, 1, 1]
    assert pairs.identities.tolist() == [[0, 0], [0, 1], [1, 1], [0, 1]]
    assert [len({*pairs.frames[a:b]}) for a, b in zip(pairs.starts, pairs.starts[1:], strict=False)] == [
        1
    ] * 4
    with pytest.raises(PairsError, match="pairs of videos"):
        read_pairs(tmp_path / "splits.txt")


@pytest.fixture
def cfp(tmp_path: Path) -> Path:
    """The set as it is unpacked: two people with two frontal images and a profile each, in two folds."""
    root, sides = tmp_path / "cfp-dataset", {"F": [], "P": []}
    for person in (1, 2):
        for kind, side, numbers in (("frontal", "F", (1, 2)), ("profile", "P", (1,))):
            for number in numbers:
                name = f"Data/Images/{person:03d}/{kind}/{number:02d}.jpg"
                picture(root / name, sum(map(len, sides.values())))
                sides[side].append(f"{len(sides[side]) + 1} ../{name}")
    for side, lines in sides.items():
        (root / "Protocol").mkdir(exist_ok=True)
        (root / "Protocol" / f"Pair_list_{side}.txt").write_text("\n".join(lines) + "\n")
    splits = {
        "FF/01/same": "1,2",
        "FF/01/diff": "1,3",
        "FF/02/same": "3,4",
        "FF/02/diff": "2,4",
        "FP/01/same": "1,1",
        "FP/01/diff": "1,2",
        "FP/02/same": "3,2\n4,2",
        "FP/02/diff": "3,1",
    }
    for name, text in splits.items():
        path = root / "Protocol" / "Split" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("kind", "expected", "same", "folds"),
    [
        ("FF", ["0 1", "0 3", "3 4", "1 4"], [True, False, True, False], [0, 0, 1, 1]),
        ("FP", ["0 2", "0 5", "3 5", "4 5", "3 2"], [True, False, True, True, False], [0, 0, 1, 1, 1]),
    ],
)
def test_cfp_is_a_folder_of_folds(cfp, kind, expected, same, folds):
    pairs = read_pairs(cfp / "Protocol" / "Split" / kind)
    assert shown(pairs) == expected
    assert pairs.same.tolist() == same
    assert pairs.fold_numbers(None).tolist() == folds
    assert ((pairs.identities[:, 0] == pairs.identities[:, 1]) == pairs.same).all()
    (cfp / "Data" / "Images").rename(cfp / "aligned")
    assert shown(read_pairs(cfp / "Protocol" / "Split" / kind, images=cfp / "aligned")) == expected


def agedb(folder: Path, splits: list[list[tuple[str, str]]]) -> Path:
    """As AgeDB's authors publish it: cells of structs of cells of structs."""
    cells = np.empty((len(splits), 1), object)
    for number, pairs in enumerate(splits):
        images = np.empty((2, len(pairs)), object)
        for pair, names in enumerate(pairs):
            for side, name in enumerate(names):
                images[side, pair] = {"name": name, "age": 30 + side}
        cells[number, 0] = {"pairs": images}
    savemat(folder / "04_FINAL_protocol_30_years.mat", {"splits": cells})
    return folder / "04_FINAL_protocol_30_years.mat"


AGEDB = ["AnnBo_1_30_f_1", "AnnBo_2_61_f_1", "Cy_3_25_m_1", "Cy_4_58_m_1"]


def test_agedb_is_a_matlab_file_with_its_splits(tmp_path):
    for value, name in enumerate(AGEDB):
        picture(tmp_path / "03_Protocol_Images" / f"{name}.jpg", value)
    one, two, three, four = AGEDB
    path = agedb(tmp_path, [[(one, two), (one, three)], [(three, four), (two, four)], [(four, one)]])
    pairs = read_pairs(path)
    assert shown(pairs) == ["0 1", "0 2", "2 3", "1 3", "3 0"]
    assert pairs.same.tolist() == [True, False, True, False, False]
    assert pairs.fold_numbers(None).tolist() == [0, 0, 1, 1, 2]
    assert pairs.identities.tolist() == [[0, 0], [0, 1], [1, 1], [0, 1], [1, 0]]
    (tmp_path / "03_Protocol_Images").rename(tmp_path / "aligned")
    assert shown(read_pairs(path, images=tmp_path / "aligned")) == shown(pairs)
    with pytest.raises(PairsError, match=r"mat: pair 1: cannot read .*AnnBo_1_30_f_1.jpg: .* --images"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read as a MATLAB file"),
        (b"MATLAB 7.3 MAT-file" + bytes(200), "cannot be read as a MATLAB file"),
        ({"x": 1}, "has no cells `splits`, so it is not AgeDB's"),
        ({"splits": np.arange(10)}, "has no cells `splits`"),
        ({"splits": np.array([[{"pairs": np.arange(6)}], [1]], object)}, "split 1 is not two rows of images"),
        ([[("AnnBo", "Cy")]], "pair 1: 'AnnBo' must be an image's name"),
    ],
    ids=["empty", "another version", "no splits", "numbers", "no rows", "names"],
)
def test_another_matlab_file_is_named(tmp_path, content, says):
    path = tmp_path / "04_FINAL_protocol_30_years.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        savemat(path, content)
    else:
        agedb(tmp_path, content)
    with pytest.raises(PairsError, match=rf"30_years\.mat: .*{says}"):
        read_pairs(path)


WRONG = {
    "LFW, cut off": (LFW.rsplit("\n", 2)[0], "line 1 says 2 sets of 2 .*, but the list has 7 pairs"),
    "LFW, a line": (LFW.replace("Cy\t1\t2", "Cy\t1"), "line 6: .* must be `name 1 2`"),
    "LFW, no image": (LFW.replace("Dee\t2", "Dee\t3"), "line 8: cannot read .*Dee_0003.jpg: No such file"),
    "LFW, no folder": (LFW, "line 2: cannot read .*; if the images lie in another folder, .* --images"),
    "CALFW, odd": (CALFW + "Cy_0001.jpg 0\n", "line 9: .* lacks the second image"),
    "CALFW, two numbers": (CALFW.replace("Cy_0010.jpg 2", "Cy_0010.jpg 0"), "lines 3 and 4: .* same number"),
    "SLLFW, a flat image": (SLLFW.replace("Dee/", ""), "lines 7 and 8: .* people's folders"),
    "YTF, a flag": (YTF.replace("Cy/1, 0", "Cy/1, 2"), "line 3: .* as in YTF's list"),
    "YTF, no folder": (YTF, "line 2: cannot read the folder .*Ann_Bo/0: .*--images"),
    "an empty list": ("\n", "no pairs"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_its_layout_is_named(people, text, message):
    (people / "list.txt").write_text(text)
    folder = None if "--images" in message else people / ("flat" if "CALFW" in message else "faces")
    with pytest.raises(PairsError, match=message) as caught:
        read_pairs_or_videos(people / "list.txt", images=folder)
    assert str(people / "list.txt") in str(caught.value)


def test_a_video_without_frames_is_named(tmp_path):
    (tmp_path / "Ann_Bo" / "0").mkdir(parents=True)
    (tmp_path / "splits.txt").write_text(YTF)
    with pytest.raises(PairsError, match=r"line 2: .*Ann_Bo/0 has no image: a video needs at least one"):
        read_pairs_or_videos(tmp_path / "splits.txt")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Split/FP/02/diff.txt", "3;1", "02/diff.txt: line 1: '3;1' must be two numbers"),
        ("Split/FP/02/diff.txt", "9,1", "'9,1' must be two numbers of the lists of images"),
        ("Split/FP/02/diff.txt", None, "02/diff.txt: cannot be read: No such file"),
        (
            "Pair_list_P.txt",
            "x ../a/b/c.jpg",
            "Pair_list_P.txt: line 1: .* must be a number and an image's path",
        ),
        ("Pair_list_P.txt", None, "Pair_list_P.txt: cannot be read"),
    ],
    ids=["separator", "number", "file", "list", "no list"],
)
def test_what_cfps_folder_lacks_is_named(cfp, file, text, message):
    path = cfp / "Protocol" / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(PairsError, match=message):
        read_pairs(cfp / "Protocol" / "Split" / "FP")


def test_other_folders_and_images_of_a_bin_are_refused(cfp):
    with pytest.raises(PairsError, match="of folders, CFP's Protocol/Split/FP"):
        read_pairs(cfp / "Data")
    (cfp / "a.bin").write_bytes(b"")
    with pytest.raises(PairsError, match=r"a \.bin has its images inside: leave --images out"):
        read_pairs(cfp / "a.bin", images=cfp)
