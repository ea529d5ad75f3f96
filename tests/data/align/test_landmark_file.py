"""Files of landmarks: every layout that is documented, and what is wrong with others."""

import json
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.align.landmark_file import LandmarkFile
from partialfc.errors import DataError
from tests.data.align.faces import FACE, write_landmarks

PIXELS = np.zeros((8, 8, 3), np.uint8)
NUMBERS = ",".join(map(str, FACE.ravel().tolist()))
HEADER = "photo,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5"


def found(path: Path, photo: str) -> list[tuple[list[list[float]], float | None]]:
    return [(face.landmarks.tolist(), face.score) for face in LandmarkFile(path)(photo, PIXELS)]


ONE = FACE.tolist()
FILES = {
    "plain.csv": f"{HEADER}\na/b.jpg,{NUMBERS}\n",
    "celeba.csv": f"image_id,{','.join('abcdefghij')}\r\na/b.jpg,{NUMBERS}\r\n",
    "bom.csv": f"\ufeff{HEADER}\n\na/b.jpg, {NUMBERS}\n",
    "without suffix.csv": f"NAME_ID,{','.join('abcdefghij')}\na/b,{NUMBERS}\n",
    "windows.csv": f"{HEADER}\na\\b.jpg,{NUMBERS}\n",
    "points.json": json.dumps({"a/b.jpg": [ONE]}),
    "objects.json": json.dumps({"a/b.jpg": [{"landmarks": ONE, "box": [1, 2, 3, 4]}]}),
}


@pytest.mark.parametrize("name", FILES)
def test_layouts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name].encode())
    assert found(tmp_path / name, "a/b.jpg") == [(ONE, None)]
    assert found(tmp_path / name, "a/c.jpg") == []


def test_several_faces_scores_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER},box,Score\na,{NUMBERS},0 0,0.5\nb,{',' * 10}\na,{NUMBERS},,\n")
    (tmp_path / "a.json").write_text(json.dumps({"a": [{"landmarks": ONE, "score": 0.5}, ONE], "b": []}))
    for path in (tmp_path / "a.csv", tmp_path / "a.json"):
        assert found(path, "a.png") == [(ONE, 0.5), (ONE, None)]
        assert found(path, "b.png") == []
        assert LandmarkFile(path).require_some(["a.png", "b.png", "c.png"], path) == 1
        with pytest.raises(DataError, match=r"lists none of the 1 photos: it has, for example, 'a'"):
            LandmarkFile(path).require_some(["d.png"], path)


BAD = {
    "no header.csv": (f"a/b.jpg,{NUMBERS}\n", "its first line must name the columns"),
    "few columns.csv": ("photo,x1,y1\na,1,2\n", "its first line must name the columns"),
    "empty.csv": ("", "its first line must name the columns"),
    "only a header.csv": (f"{HEADER}\n", "lists no photo"),
    "word.csv": (
        f"{HEADER}\na,{NUMBERS.replace('51.6963', 'left')}\n",
        "line 2: 38.2946,left,.*: must be 5 landmarks",
    ),
    "nan.csv": (f"{HEADER}\na,{NUMBERS.replace('51.6963', 'nan')}\n", "line 2: .*must be 5 landmarks"),
    "short.csv": (f"{HEADER}\n\na,1,2,3\n", "line 3: 1,2,3: must be 5 landmarks"),
    "score.csv": (f"{HEADER},score\na,{NUMBERS},sure\n", "line 2: .*a score a number"),
    "cut.json": ('{"a": [', "neither CSV nor JSON"),
    "list.json": ("[]", "must be an object with a list of faces"),
    "face.json": ('{"a": 3}', "'a': must be a list of faces, is 3"),
    "points.json": ('{"a": [[[1, 2]]]}', r"'a': \[\[1, 2\]\]: must be 5 landmarks"),
    "numbers.json": ('{"a": [3]}', "'a': 3: must be 5 landmarks"),
    "words.json": ('{"a": [{"points": []}]}', r"'a': {\"points\": \[\]}: must be 5 landmarks"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        LandmarkFile(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: cannot be read: No such file"):
        LandmarkFile(tmp_path / "none.csv")


def test_what_the_tests_write_is_read(tmp_path: Path) -> None:
    path = write_landmarks(tmp_path / "a.csv", {"a": [FACE, FACE], "b": []})
    assert found(path, "a") == [(ONE, None)] * 2
    assert found(path, "b") == []
