"""`partialfc data pack` and `data pairs`: their options reach what they are about."""

from pathlib import Path

from tests.data.sources.cases import put
from tests.processes import call


def test_pack_and_pairs_see_the_same_images(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "in", *(f"{place}/{name}/{n}.png" for place in "xy" for name in "ab" for n in range(3))
    )
    put(folder, ".ipynb_checkpoints/a/0.png", "x/a/._0.png")
    (folder / "x/a/0.png").write_bytes(b"")

    refused = call("data", "pack", folder, tmp_path / "out", "--class-depth", 2)
    assert refused.returncode == 1
    assert (
        f"1 of 12 images cannot be used:\n  {folder}/x/a/0.png: the file is empty, 0 bytes\n"
        in refused.stderr
    )
    assert "--max-bad 1" in refused.stderr
    pairs = call("data", "pairs", folder, tmp_path / "pairs.bin", "--pairs", 24, "--class-depth", 2)
    assert pairs.returncode == 1
    assert f"  {folder}/x/a/0.png: the file is empty, 0 bytes\n" in pairs.stderr

    packed = call("data", "pack", folder, tmp_path / "out", "--class-depth", 2, "--max-bad", 1)
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout.endswith("train.rec: 11 images of 4 classes, 1 left out\n")
    assert f"left out: {folder}/x/a/0.png: the file is empty" in packed.stderr
    assert packed.stderr.count("skipped 2 files and folders that are no images: 1 x ._*, 1 x .ipynb_") == 1
    drawn = call("data", "pairs", tmp_path / "out/train.rec", tmp_path / "pairs.bin", "--pairs", 20)
    assert drawn.returncode == 0, drawn.stderr


def test_pack_relabels_and_replaces_as_asked(tmp_path: Path) -> None:
    """From a .rec whose labels have gaps; pairs are drawn from such a one as it is."""
    folder = put(tmp_path / "in", *(f"{name}/{n}.png" for name in "abc" for n in range(3)))
    (folder / "b/0.png").rename(folder / "c/9.png")
    for n in (1, 2):
        (folder / f"b/{n}.png").unlink()
    packed = call("data", "pack", folder, tmp_path / "out")
    assert packed.stdout.endswith("train.rec: 7 images of 3 classes\n")
    drawn = call("data", "pairs", tmp_path / "out/train.rec", tmp_path / "pairs.bin", "--pairs", 10)
    assert drawn.returncode == 0, drawn.stderr
    again = call("data", "pack", tmp_path / "out/train.rec", tmp_path / "out", "--relabel")
    assert again.returncode == 1
    assert "out/train.rec: exists already" in again.stderr
    assert "--overwrite" in again.stderr
    replaced = call("data", "pack", tmp_path / "out/train.rec", tmp_path / "out", "--relabel", "--overwrite")
    assert replaced.stdout.endswith("train.rec: 7 images of 2 classes\n")
    assert (tmp_path / "out/classes.txt").read_text() == "a\nc\n"


def test_pack_and_pairs_take_the_images_that_a_file_names(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(f"{name}/{n}.png" for name in "abc" for n in range(3)))
    (tmp_path / "bad.txt").write_text("b/0.png\tblurred\nb/1.png\nb/2.png\n")
    packed = call("data", "pack", folder, tmp_path / "out", "--leave-out", tmp_path / "bad.txt")
    assert packed.stdout.endswith("train.rec: 6 images of 2 classes\n"), packed.stderr
    refused = call("data", "pairs", folder, tmp_path / "p.bin", "--pairs", 4, "--only", tmp_path / "bad.txt")
    assert refused.returncode == 1
    assert "3 images of 1 classes make only 0" in refused.stderr


def test_pack_merges_several_sources(tmp_path: Path) -> None:
    put(tmp_path / "in", "a/1.png", "b/1.png")
    (tmp_path / "list.txt").write_text("a/1.png b\nb/1.png c\n")
    sources = (tmp_path / "in", tmp_path / "list.txt")
    packed = call("data", "pack", *sources, tmp_path / "out", "--root", tmp_path / "in")
    assert packed.stdout.endswith("train.rec: 4 images of 3 classes\n"), packed.stderr
    assert (tmp_path / "out/classes.txt").read_text() == "a\nb\nc\n"
