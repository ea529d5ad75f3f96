"""The training data: missing, damaged, or not what lies in its folder."""

import pytest

from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.doctor import Level
from partialfc.errors import ImageError
from tests.data.sources.cases import png, put
from tests.doctor.cases import found, quick
from tests.doctor.data_cases import assert_green, trains


def test_data_that_is_not_there_is_red(folder):
    report = quick(folder, "data.train=nowhere.rec")
    assert found(report, "data").level == Level.RED
    assert "nowhere.rec" in found(report, "data").says


def test_labels_that_are_no_class_ids_are_red_with_a_remedy(folder):
    for vectors in ([(4, 5, 1, 0.1, 0.1, 0.2, 0.2), (4, 5, 0, 0.3, 0.1, 0.4, 0.2)], [(0.5,), (1.0,)]):
        with RecordWriter(folder / "train.rec") as writer:
            for key, label in enumerate(vectors):
                writer.write(key, pack(Header(len(label), label, key), png(1)))
        check = found(quick(folder), "data")
        assert check.level == Level.RED
        assert "one class id each, a whole number from 0 on" in check.remedy


def test_a_bad_property_is_red_and_green_once_it_is_corrected_or_deleted(folder):
    for text in ("20", "", "20,8"):
        (folder / "property").write_text(text)
        check = found(quick(folder), "data")
        assert check.level == Level.RED
        assert check.remedy == f"correct {folder}/property, or delete it to have the classes counted"
    (folder / "property").write_text("20,8,8\n120\n")
    assert_green(quick(folder))
    (folder / "property").unlink()
    assert_green(quick(folder))


def test_damaged_images_are_red(folder):
    records = (folder / "train.rec").read_bytes()
    place = records.index(b"\x89PNG")
    (folder / "train.rec").write_bytes(records[:place] + b"\0PNG" + records[place + 4 :])
    check = found(quick(folder), "records")
    assert check.level == Level.RED
    assert "1 of 120" in check.says
    assert "train.rec record 1:" in check.says


def test_a_damaged_record_is_red(folder):
    """A frame without its magic word: neither its image nor its label can be read."""
    records = bytearray((folder / "train.rec").read_bytes())
    line = (folder / "train.idx").read_text().splitlines()[50].split()
    records[int(line[1]) : int(line[1]) + 4] = b"\0\0\0\0"
    (folder / "train.rec").write_bytes(records)
    report = quick(folder)
    assert found(report, "records").level == Level.RED
    assert found(report, "labels").level == Level.RED
    assert "record 50" in found(report, "labels").says


def test_an_image_folder_is_examined_too(tmp_path):
    data = images(tmp_path, "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    report = quick(tmp_path, data)
    assert found(report, "class sizes").says.startswith("all 4 images: 2 to 2 a class")
    assert found(report, "labels").level == Level.GREEN
    (tmp_path / "images" / "dog" / "0.png").write_bytes(b"no picture")
    assert "dog/0.png" in found(quick(tmp_path, data), "records").says


def images(folder, *names):
    """The config override that trains on the folder of these images."""
    return f"data.train={put(folder / 'images', *names)}"


def test_leftovers_are_told_and_harm_nothing(tmp_path):
    data = images(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", ".ipynb_checkpoints/1.png")
    check = found(quick(put(tmp_path, "images/cat/._1.png"), data), "data")
    assert check.level == Level.GREEN
    assert check.says.endswith("4 images of 2 classes; skipped: 1 x ._*, 1 x .ipynb_checkpoints")


def test_records_that_were_packed_with_leftovers_are_yellow_until_packed_again(tmp_path):
    """As versions did that took `.ipynb_checkpoints` for a class."""
    put(tmp_path / "images", "cat/1.png", "dog/1.png", "ipynb/1.png")
    packed = pack_source(tmp_path / "images", tmp_path / "packed")
    names = tmp_path / "packed/classes.txt"
    names.write_text(names.read_text().replace("ipynb", ".ipynb_checkpoints"))
    check = found(quick(tmp_path, f"data.train={packed.path}"), "data")
    assert check.level == Level.YELLOW
    assert "1 of the classes are leftovers such as '.ipynb_checkpoints'" in check.says
    (tmp_path / "images/ipynb").rename(tmp_path / "images/.ipynb_checkpoints")
    packed = pack_source(tmp_path / "images", tmp_path / "packed again")
    again = found(quick(tmp_path, f"data.train={packed.path}"), "data")
    assert again.level == Level.GREEN
    assert "of 2 classes" in again.says


def test_images_that_are_not_read_are_yellow_until_they_are_moved_away(tmp_path):
    data = images(tmp_path, "cat/1.png", "dog/1.png", "dog/2.heic")
    check = found(quick(tmp_path, data), "data")
    assert check.level == Level.YELLOW
    assert "1 x *.heic" in check.says
    assert "move them away" in check.remedy
    (tmp_path / "images/dog/2.heic").unlink()
    assert found(quick(tmp_path, data), "data").level == Level.GREEN


def test_classes_on_another_level_are_yellow_and_the_remedy_names_the_level(tmp_path):
    data = images(tmp_path, "train/cat/1.png", "train/dog/1.png", "more/eel/1.png")
    check = found(quick(tmp_path, data), "data")
    assert check.level == Level.YELLOW
    assert "of 2 classes" in check.says
    assert "set data.class_depth to 2" in check.remedy
    again = found(quick(tmp_path, data, "data.class_depth=2"), "data")
    assert again.level == Level.GREEN
    assert "of 3 classes" in again.says


@pytest.mark.parametrize("depth", [1, 2])
def test_an_image_above_the_class_folders_is_red_until_it_has_a_folder(tmp_path, depth):
    data = images(tmp_path, "a/x/1.png", "b/y/2.png", "loose.png")
    check = found(quick(tmp_path, data, f"data.class_depth={depth}"), "data")
    assert check.level == Level.RED
    assert "folder of its own" in check.remedy
    assert "data.class_depth" in check.remedy
    (tmp_path / "images/c/z").mkdir(parents=True)
    (tmp_path / "images/loose.png").rename(tmp_path / "images/c/z/loose.png")
    assert found(quick(tmp_path, data, f"data.class_depth={depth}"), "data").level != Level.RED


def test_a_class_depth_for_records_is_red_until_it_is_left_out(folder):
    check = found(quick(folder, "data.class_depth=2"), "data")
    assert check.level == Level.RED
    assert check.remedy == "leave data.class_depth out"
    assert found(quick(folder), "data").level == Level.GREEN


def test_bad_images_are_red_until_as_many_may_be_skipped_and_green_without_them(tmp_path):
    """An image that claims too many pixels, an empty one, and one that is cut short."""
    data = images(tmp_path, *(f"{name}/{n}.png" for name in ("cat", "dog") for n in range(6)))
    cat = tmp_path / "images/cat"
    cat.joinpath("0.png").write_bytes(b"P5 70000 70000 255\n")
    cat.joinpath("1.png").write_bytes(b"")
    cat.joinpath("2.png").write_bytes(cat.joinpath("3.png").read_bytes()[:-9])
    check = found(quick(tmp_path, data), "records")
    assert check.level == Level.RED
    assert check.says.startswith(f"3 of 12 sampled cannot be read: {cat}/")
    assert "(3 in all), or set data.max_bad_records to that many" in check.remedy
    with pytest.raises(ImageError):
        trains(tmp_path, data)
    allowed = found(quick(tmp_path, data, "data.max_bad_records=3"), "records")
    assert allowed.level == Level.YELLOW
    trains(tmp_path, data, "data.max_bad_records=3")
    assert "partialfc data pack --max-bad" in allowed.remedy
    packed = pack_source(tmp_path / "images", tmp_path / "packed", max_bad=3)
    assert found(quick(tmp_path, f"data.train={packed.path}"), "records").level == Level.GREEN
    trains(tmp_path, f"data.train={packed.path}")


def test_a_file_that_cannot_be_read_is_red_whatever_may_be_skipped(tmp_path):
    data = images(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (tmp_path / "images/cat/2.png").unlink()
    (tmp_path / "images/cat/2.png").symlink_to("gone.png")
    check = found(quick(tmp_path, data, "data.max_bad_records=9"), "records")
    assert check.level == Level.RED
    assert "cat/2.png: cannot be read" in check.says
    (tmp_path / "images/cat/2.png").unlink()
    assert found(quick(tmp_path, data), "records").level == Level.GREEN


def test_an_image_folder_has_the_classes_that_the_run_gave_before(tmp_path):
    data = images(tmp_path, "cat/0.png")
    index = tmp_path / "run" / "classes.json"
    index.parent.mkdir()
    index.write_text('["ant", "cat"]')
    assert "of 2 classes" in found(quick(tmp_path, data), "data").says
    index.write_text('["ant", ')
    check = found(quick(tmp_path, data), "data")
    assert check.level == Level.RED
    assert "classes.json is damaged" in check.says
    assert "run.dir" in check.remedy


def test_an_index_that_does_not_fit_is_red_and_green_once_it_is_deleted(folder):
    index = folder / "train.idx"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:14]))
    check = found(quick(folder), "data")
    assert check.level == Level.RED
    assert check.remedy == f"delete {index}; train.rec is then scanned instead"
    index.unlink()
    assert found(quick(folder), "data").level == Level.GREEN


def test_a_file_that_was_cut_is_red_and_green_once_it_is_copied_again(folder):
    whole = (folder / "train.rec").read_bytes()
    for size in (len(whole) - 4, len(whole) // 2):
        (folder / "train.rec").write_bytes(whole[:size])
        check = found(quick(folder), "data")
        assert check.level == Level.RED
        assert "cut short" in check.says
        assert "copy the .rec again" in check.remedy
    (folder / "train.rec").write_bytes(whole)
    assert found(quick(folder), "data").level == Level.GREEN


def test_several_sources_are_examined_together(tmp_path, folder):
    put(tmp_path / "images", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.heic")
    (tmp_path / "list.txt").write_text("images/dog/1.png dog\nimages/cat/9.png cat\n")
    check = found(quick(tmp_path, f"data.train=[{tmp_path}/images, {tmp_path}/list.txt]"), "data")
    assert check.level == Level.YELLOW
    assert f"{tmp_path}/list.txt: 5 images of 2 classes" in check.says
    records = found(quick(tmp_path, f"data.train=[{tmp_path}/images, {tmp_path}/list.txt]"), "records")
    assert "images/cat/9.png: cannot be read: No such file or directory (line 2 of" in records.says
    nowhere = found(quick(tmp_path, f"data.train=[{tmp_path}/images, {tmp_path}/none]"), "data")
    assert nowhere.level == Level.RED
    assert f"data.train is {tmp_path}/none, which does not exist" in nowhere.says
