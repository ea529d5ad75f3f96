"""`partialfc data align`: what is written where, and what becomes of photos that are not as hoped for."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partialfc.data.align.landmark_file import LandmarkFile
from partialfc.data.align.template import template
from partialfc.data.images.codec import decode, encode_png
from tests.data.align.faces import dots, draw, landmarks, write_landmarks
from tests.data.align.yunet import SIDE, write_yunet
from tests.processes import call

NEAR = landmarks(scale=0.9, angle=-15, shift=(70, 80))
FAR = landmarks(scale=0.35, angle=20, shift=(165, 60))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One face, none, two, a damaged file and one that is no image, in folders of several depths."""
    folder = tmp_path / "photos"
    (folder / "ann/2020").mkdir(parents=True)
    (folder / "ann/2020/one.png").write_bytes(encode_png(draw(NEAR)))
    (folder / "ann/two.png").write_bytes(encode_png(draw(NEAR, FAR)))
    (folder / "none.png").write_bytes(encode_png(draw()))
    (folder / "notes.txt").write_text("none of the photos")
    write_landmarks(
        tmp_path / "points.csv", {"ann/2020/one.png": [NEAR], "ann/two.png": [FAR, NEAR], "none.png": []}
    )
    return folder


def align(photos: Path, *options: object, out: str = "out", status: int = 0) -> str:
    """What the command prints; crops lie beside the photos' folder."""
    given = options if "--detector" in options else ("--landmarks", photos.with_name("points.csv"), *options)
    done = call("data", "align", photos, photos.with_name(out), *given)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "align.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_crops_keep_their_folders_and_each_photo_is_listed(photos: Path) -> None:
    out = photos.with_name("out")
    printed = align(photos, "--format", "png")
    assert "2 crops of 3 photos (2 aligned, 1 no face); see align.csv" in printed
    assert files(out).keys() == {"align.csv", "align.json", "ann/2020/one.png", "ann/two.png"}
    for name in ("ann/2020/one.png", "ann/two.png"):
        assert np.abs(dots(decode((out / name).read_bytes())) - template(112, 112)).max() < 0.6
    listed = [(row["photo"], row["outcome"], row["faces"], row["crop"]) for row in rows(out)]
    assert listed == [
        ("ann/2020/one.png", "aligned", "1", "ann/2020/one.png"),
        ("ann/two.png", "aligned", "2", "ann/two.png"),
        ("none.png", "no face", "0", ""),
    ]
    assert json.loads((out / "align.json").read_text())["counts"]["crops"] == 2
    faces = LandmarkFile(out / "align.csv")  # so a detector need not run again for crops of another size
    assert np.abs(faces("ann/two.png", draw())[0].landmarks - NEAR).max() < 1e-4
    assert faces("none.png", draw()) == []


@pytest.mark.parametrize(
    ("options", "crops"),
    [
        (["--none", "centre"], {"ann/2020/one.jpg", "ann/two.jpg", "none.jpg"}),
        (["--several", "all"], {"ann/2020/one.jpg", "ann/two.face1.jpg", "ann/two.face2.jpg"}),
        (["--several", "centre", "--size", "96x112"], {"ann/2020/one.jpg", "ann/two.jpg"}),
    ],
    ids=["middle", "all", "centre"],
)
def test_policies(photos: Path, options: list[str], crops: set[str]) -> None:
    align(photos, *options)
    found = files(photos.with_name("out"))
    assert found.keys() - {"align.csv", "align.json"} == crops
    width = 96 if "--size" in options else 112
    assert {decode(found[name]).shape for name in crops} == {(112, width, 3)}


def test_what_is_asked_to_be_an_error_is_one_after_all_else_is_done(photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff no JPEG")
    printed = align(photos, "--none", "error", "--several", "error", status=1)
    assert (
        "DataError: of 4 photos, no face: 1 (none.png); several faces: 1 (ann/two.png); unreadable: 1 "
        "(bad.jpg); all others are done, and all listed in "
    ) in printed
    assert (photos.with_name("out") / "ann/2020/one.jpg").is_file()
    assert [row["outcome"] for row in rows(photos.with_name("out"))].count("aligned") == 1
    (photos / "bad.jpg").write_bytes(encode_png(draw(NEAR)))
    again = align(photos, "--none", "error", "--several", "error", "--resume", status=1)
    assert "of 4 photos, no face: 2 (bad.jpg, none.png); several faces: 1" in again
    assert len(rows(photos.with_name("out"))) == 4


def test_max_bad_leaves_damaged_photos_out(photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff no JPEG")
    (photos / "gone.png").symlink_to("nowhere")
    assert "unreadable: 2 (bad.jpg, gone.png)" in align(photos, "--max-bad", 1, status=1)
    assert "2 photos left out: unreadable, see" in align(photos, "--max-bad", 2, out="other")
    messages = {row["photo"]: row["message"] for row in rows(photos.with_name("other"))}
    assert messages["bad.jpg"].startswith("damaged image of 11 bytes")
    assert messages["gone.png"] == "cannot be read: No such file or directory"


def test_landmarks_that_are_no_faces_are_listed(photos: Path) -> None:
    write_landmarks(photos.with_name("points.csv"), {"none.png": [np.ones((5, 2))], "ann/two": [NEAR]})
    printed = align(photos, status=1)
    assert "bad landmarks: 1 (none.png)" in printed
    assert "points.csv: 1 photos are not listed" in printed


def test_landmarks_of_photos_that_are_not_there_are_counted(photos: Path) -> None:
    listed = {f"bob/{number}.png": [NEAR] for number in range(4)} | {"ann/two": [NEAR], "none.png": []}
    write_landmarks(photos.with_name("points.csv"), listed)
    printed = align(photos)
    assert "lists 4 photos that are not in the folder, such as bob/0.png, bob/1.png, bob/2.png;" in printed
    write_landmarks(photos.with_name("points.csv"), {"ann/2020/one": [NEAR], "ann/two": [], "none.png": []})
    assert "not in the folder" not in align(photos, out="other")


def test_a_call_that_was_stopped_goes_on(photos: Path) -> None:
    """Its last line was cut, a crop is missing, and a photo came after it."""
    out = photos.with_name("out")
    align(photos, "--several", "all")
    expected = files(out)
    (out / "align.csv").write_bytes(expected["align.csv"][:-20])
    (out / "ann/two.face2.jpg").unlink()
    (out / "ann/2020/one.jpg").write_bytes(b"kept")
    refused = align(photos, "--several", "all", status=1)
    assert "is not empty: --resume goes on with an earlier call" in refused
    assert "1 of them done before" in align(photos, "--several", "all", "--resume")
    assert files(out) == {**expected, "ann/2020/one.jpg": b"kept"}
    refused = align(photos, "--several", "largest", "--resume", status=1)
    assert "several is largest, and was all in the call that is resumed" in refused
    refused = align(photos, "--resume", "--overwrite", status=1)
    assert "ConfigError: --resume and --overwrite: give only one" in refused
    align(photos, "--several", "largest", "--overwrite")
    assert files(out).keys() == {"align.csv", "align.json", "ann/2020/one.jpg", "ann/two.jpg"}
    align(photos, "--several", "all", "--overwrite")
    assert files(out) == expected


def test_processes_write_the_same(photos: Path) -> None:
    faces = {f"{n % 3}/{n}.png": [landmarks(scale=0.6, angle=9 * n, shift=(90, 80))] for n in range(20)}
    for name, (face,) in faces.items():
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(encode_png(draw(face)))
    write_landmarks(photos.with_name("points.csv"), faces)
    align(photos, "--workers", 0, out="one")
    align(photos, "--workers", 2, out="two")
    assert files(photos.with_name("one")) == files(photos.with_name("two"))


def test_a_photo_is_upright_before_landmarks_count(tmp_path: Path) -> None:
    face = landmarks(scale=0.8, angle=0, shift=(90, 80))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    (tmp_path / "photos").mkdir()
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(draw(face))))
    lying.save(tmp_path / "photos/a.png", exif=exif)
    write_landmarks(tmp_path / "points.csv", {"a": [face]})
    align(tmp_path / "photos", "--format", "png")
    assert np.abs(dots(decode((tmp_path / "out/a.png").read_bytes())) - template(112, 112)).max() < 0.6


def test_names_that_would_meet_keep_their_suffix(tmp_path: Path) -> None:
    names = ("a.png", "a.bmp", "A.webp", "b.png", "b.face1.png", "c.png")
    (tmp_path / "photos").mkdir()
    for name in names:
        buffer = io.BytesIO()
        Image.fromarray(draw(NEAR)).save(buffer, name.rpartition(".")[2])
        (tmp_path / "photos" / name).write_bytes(buffer.getvalue())
    write_landmarks(tmp_path / "points.csv", {name: [NEAR] for name in names})
    align(tmp_path / "photos", "--several", "all")
    assert files(tmp_path / "out").keys() - {"align.csv", "align.json"} == {
        "a.png.jpg",
        "a.bmp.jpg",
        "A.webp.jpg",
        "b.jpg",
        "b.face1.png.jpg",
        "c.jpg",
    }


def test_a_detector_finds_the_faces(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(encode_png(draw(size=(SIDE, SIDE))))
    model = write_yunet(tmp_path / "hand.onnx")
    yunet = ("--detector", "yunet", "--model", model)
    assert "1 crops of 1 photos (1 aligned)" in align(tmp_path / "photos", *yunet)
    assert [row["score"] for row in rows(tmp_path / "out")] == ["0.9000"]
    unsure = align(tmp_path / "photos", *yunet, "--min-score", 0.95, out="unsure")
    assert "0 crops of 1 photos (1 no face)" in unsure


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --landmarks FILE or --detector yunet | mtcnn"),
        (["--detector", "yunet"], "--detector yunet needs --model FILE"),
        (["--landmarks", "x.csv", "--model", "x.onnx"], "--detector yunet needs --model FILE"),
        (["--landmarks", "x.csv", "--size", "1x1"], "size is '1x1'"),
        (["--landmarks", "x.csv"], "x.csv: cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(photos: Path, options: list[str], message: str) -> None:
    done = call("data", "align", photos, photos.with_name("out"), *options)
    assert done.returncode == 1
    assert message in done.stderr


def test_folders_that_do_not_fit_are_refused(photos: Path) -> None:
    points = photos.with_name("points.csv")
    within = call("data", "align", photos, photos / "crops", "--landmarks", points)
    assert "lies within" in within.stderr
    photos.with_name("file").touch()
    assert "file is no folder; name one elsewhere" in align(photos, out="file", status=1)
    photos.with_name("empty").mkdir()
    done = call("data", "align", photos.with_name("empty"), photos.with_name("out"), "--landmarks", "x.csv")
    assert "holds no image" in done.stderr
    photos.with_name("other").mkdir()
    (photos.with_name("other") / "align.csv").write_text("mine\n")
    assert "was not written by `partialfc data align`" in align(photos, "--resume", out="other", status=1)
