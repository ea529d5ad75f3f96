"""Galleries that are made, added to and removed from; a kill leaves the state before or after."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partialfc.errors import ConfigError, DataError
from partialfc.serving.gallery import segments, update
from partialfc.serving.gallery.answers import as_text
from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.gallery import Gallery, Match
from partialfc.serving.gallery.manifest import MANIFEST
from partialfc.serving.gallery.update import add, create, remove_names
from partialfc.serving.gallery.writable import WritableGallery
from tests.disks import small_disk
from tests.serving.gallery.cases import card_of, make, names, random_rows, stored_rows
from tests.serving.kills import Setting, kill_at_each_step

ALL = [{"storage": "float32"}, {"storage": "float16"}, {"storage": "int8"}, {"faiss": "Flat"}]
STORAGES = pytest.mark.parametrize("how", ALL, ids=["float32", "float16", "int8", "faiss"])


def named(gallery: Gallery) -> list[tuple[str, str]]:
    return [gallery.name(place) for place in range(len(gallery))]


@STORAGES
def test_what_is_added_is_found_and_what_is_removed_is_not(tmp_path, how):
    rows = random_rows(60)
    gallery = make(tmp_path / "g", rows[:40], **how)
    assert add(gallery.folder, [(rows[40:], names(20, start=40))], card=gallery.card) == 20
    more = Gallery(gallery.folder)
    assert named(more) == names(60)
    assert [found[0].key for found in more.search(rows[50:52], 1)] == ["images/50.png", "images/51.png"]
    assert len(gallery.search(rows[50:51], 60)[0]) == 40  # opened before, it is what it was
    assert gallery.counts(["name0"]) == {"name0": 6}  # also where its file of names is gone
    assert remove_names(gallery.folder, ["name1", "name3"]) == 18
    left = Gallery(gallery.folder)
    assert named(left) == [each for each in names(60) if each[0] not in ("name1", "name3")]
    assert left.search(rows[:1], 1)[0][0].key == "images/0.png"
    kept = [place for place, (name, _) in enumerate(names(60)) if name not in ("name1", "name3")]
    assert np.array_equal(stored_rows(left), stored_rows(more)[kept])


@STORAGES
def test_a_name_is_one_whether_its_accents_stand_alone_or_not(tmp_path, how):
    one, two = "Jos\u00e9", "Jose\u0301"
    listed = [(one, "1"), (two, "2"), ("Jose", "3")]
    gallery = make(tmp_path / "g", random_rows(3), names=listed, **how)
    assert named(gallery) == listed  # a row keeps its name as it came
    assert gallery.counts([one, two, "Jose"]) == {one: 2, two: 2, "Jose": 1}
    assert remove_names(gallery.folder, [one]) == 2
    assert named(Gallery(gallery.folder)) == [("Jose", "3")]
    add(gallery.folder, [(random_rows(1), [(two, "2")])], card=gallery.card)
    assert remove_names(gallery.folder, [one]) == 1


def test_in_a_gallery_of_means_a_name_of_other_characters_is_there_already(tmp_path):
    gallery = make(tmp_path / "g", random_rows(1), names=[("Jos\u00e9", "")], mean=True)
    with pytest.raises(DataError, match=r"has .* already; remove it first"):
        add(gallery.folder, [(random_rows(1), [("Jose\u0301", "")])], card=gallery.card)


def test_a_large_segment_is_not_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(update, "SMALL", 50)
    monkeypatch.setattr(segments, "MOST_ROWS", 100)
    gallery = make(tmp_path / "g", random_rows(250))
    before = {path.name: path.stat().st_ino for path in gallery.folder.glob("rows-*")}
    assert len(before) == 3
    add(gallery.folder, [(random_rows(70, seed=1), names(70, start=250))], card=gallery.card)
    after = {path.name: path.stat().st_ino for path in gallery.folder.glob("rows-*")}
    assert [part.rows for part in Gallery(gallery.folder)._manifest.parts] == [100, 100, 50, 70]
    assert before.items() <= after.items()
    remove_names(gallery.folder, ["name6"])
    assert named(Gallery(gallery.folder)) == [each for each in names(320) if each[0] != "name6"]


def test_all_may_be_removed_and_others_added(tmp_path):
    gallery = make(tmp_path / "g", random_rows(7))
    assert remove_names(gallery.folder, [name for name, _ in names(7)]) == 7
    assert len(Gallery(gallery.folder)) == 0
    add(gallery.folder, [(random_rows(2), names(2))], card=gallery.card)
    assert len(Gallery(gallery.folder)) == 2


def test_a_name_that_no_row_has_removes_nothing(tmp_path):
    gallery = make(tmp_path / "g", random_rows(7))
    with pytest.raises(DataError, match=r"no row has the name 'Anna'; none was removed"):
        remove_names(gallery.folder, ["name1", "Anna"])
    with pytest.raises(DataError, match=r"no row has the name 'Anna', nor 1 others that were named; none"):
        remove_names(gallery.folder, ["Bob", "name1", "Anna"])
    assert len(Gallery(gallery.folder)) == 7


def test_names_with_backslashes_are_removed_too(tmp_path):
    listed = [("a\\nb", ""), ("a", ""), ("b", ""), ("a\\\\nb", "")]
    gallery = make(tmp_path / "g", random_rows(4), names=listed)
    assert remove_names(gallery.folder, ["a\\nb"]) == 1
    assert named(Gallery(gallery.folder)) == listed[1:]


def test_a_name_with_a_tab_is_removed_as_it_is_and_as_a_search_shows_it(tmp_path):
    """Such as those of the glyphs."""
    listed = [("U+0021\t!", "a.png"), ("U+0023\t#", ""), ("b", "")]
    gallery = make(tmp_path / "g", random_rows(3), names=listed)
    assert as_text("a.png", [Match("U+0021\t!", "", 1.0)], None).startswith(r"a.png: U+0021\t!")
    assert remove_names(gallery.folder, [r"U+0021\t!"]) == 1
    assert remove_names(gallery.folder, ["U+0023\t#", "b"]) == 2


NOT_NAMES = {
    "empty": ("", "''"),
    "blank": (" anna", "' anna'"),
    "line": ("a\nb", r"'a\\nb'"),
    "tab": ("a\t", r"'a\\t'"),
    "not-utf8": ("Zo\udce9", r"'Zo\\udce9'"),
    "joiner-alone": ("\u200d", r"'\\u200d'"),
    "joiner-at-the-end": ("a\u200c", r"'a\\u200c'"),
    "right-to-left": ("a\u202eb", r"'a\\u202eb'"),
    "long": ("x" * 1001, r"'x{40}'\.\.\. of 1001 characters"),
}


@pytest.mark.parametrize(("name", "shown"), NOT_NAMES.values(), ids=NOT_NAMES)
def test_a_name_that_no_request_may_give_is_refused(tmp_path, name, shown):
    says = rf"images/1\.png: its name in a gallery is {shown}, and must be 1 to 1000 printable characters"
    with pytest.raises(DataError, match=says):
        make(tmp_path / "new", random_rows(2), names=[("bob", ""), (name, "images/1.png")])
    gallery = make(tmp_path / "g", random_rows(4))
    with pytest.raises(DataError, match=says):
        add(gallery.folder, [(random_rows(1), [(name, "images/1.png")])], card=gallery.card)
    assert named(Gallery(gallery.folder)) == names(4)


def test_another_models_embeddings_are_refused(tmp_path):
    gallery = make(tmp_path / "g", random_rows(4))
    other = replace(gallery.card, weights="cd" * 32, name="other")
    with pytest.raises(ConfigError, match=r"has embeddings of small \(\w{8}\), and those of other \(\w{8}\)"):
        add(gallery.folder, [(random_rows(1), names(1))], card=other)
    with pytest.raises(ConfigError, match="cannot be compared"):
        gallery.require(other)
    gallery.require(replace(gallery.card, name="renamed"))


def test_in_a_gallery_of_means_a_name_stands_once(tmp_path):
    listed = [("anna", ""), ("bert", "")]
    gallery = make(tmp_path / "g", random_rows(2), names=listed, mean=True)
    assert gallery.of_classes
    with pytest.raises(DataError, match="has 'bert' already; remove it first"):
        add(gallery.folder, [(random_rows(2, seed=1), [("cleo", ""), ("bert", "")])], card=gallery.card)
    assert len(Gallery(gallery.folder)) == 2
    add(gallery.folder, [(random_rows(1, seed=1), [("cleo", "")])], card=gallery.card)
    assert [*Gallery(gallery.folder).names()] == ["anna", "bert", "cleo"]


def test_a_gallery_is_replaced_only_when_asked(tmp_path):
    gallery = make(tmp_path / "g", random_rows(4))
    with pytest.raises(ConfigError, match=r"is a gallery already; .*--overwrite"):
        make(tmp_path / "g", random_rows(5))

    def breaks():
        yield random_rows(2), names(2)
        raise DataError("the third image is damaged")

    with pytest.raises(DataError, match="third image"):
        create(gallery.folder, gallery.card, breaks(), overwrite=True)
    assert len(Gallery(gallery.folder)) == 4
    assert len(make(tmp_path / "g", random_rows(5), overwrite=True)) == 5
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/rows-1.npy").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        make(tmp_path / "mine", random_rows(5))
    assert (tmp_path / "mine/rows-1.npy").read_text() == "mine"


def test_what_requests_have_added_is_not_deleted_where_the_gallerys_own_file_is_gone(tmp_path):
    folder = make(tmp_path / "g", random_rows(4)).folder
    with closing(WritableGallery(folder)) as gallery:
        gallery.change([Change("new", random_rows(1))])
        card = gallery.card
    kept = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    with pytest.raises(DataError, match=r"has changes-\d+\.log, what requests have changed, and no gallery"):
        create(folder, card, ())
    (folder / MANIFEST).write_bytes(kept)
    assert len(Gallery(folder)) == 5


def test_two_processes_do_not_change_one_gallery(tmp_path):
    gallery = make(tmp_path / "g", random_rows(4))

    def while_changed():
        with pytest.raises(ConfigError, match="another process is changing it"):
            remove_names(gallery.folder, ["name1"])
        yield random_rows(1), names(1, start=4)

    add(gallery.folder, while_changed(), card=gallery.card)
    assert len(Gallery(gallery.folder)) == 5


@pytest.mark.parametrize("number", [0.0, np.nan], ids=["zero", "nan"])
def test_a_row_without_a_direction_is_named(tmp_path, number):
    rows = random_rows(3)
    rows[1] = number
    with pytest.raises(DataError, match=r"the embedding of images/1\.png is zero or not finite"):
        make(tmp_path / "g", rows)


def test_rows_and_names_must_be_as_many(tmp_path):
    with pytest.raises(ValueError, match=r"rows are \[3, 32\]; for these names they must be \[2, 32\]"):
        create(tmp_path / "g", card_of(32), [(random_rows(3), names(2))])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(lambda f: (f / "gallery.json").unlink(), "is no gallery", id="no-manifest"),
        pytest.param(
            lambda f: (f / "gallery.json").write_text("{"), "gallery.json: is damaged", id="manifest"
        ),
        pytest.param(lambda f: _edit(f, format=9), "its format is 9; this version reads 1", id="format"),
        pytest.param(lambda f: _edit(f, storage="bits"), "storage is 'bits'", id="storage"),
        pytest.param(lambda f: _edit(f, parts=[3]), "is damaged", id="parts"),
        pytest.param(lambda f: _edit(f, faiss_part="x"), "is damaged", id="faiss"),
        pytest.param(lambda f: _edit(f, log=[]), "is damaged", id="log"),
        pytest.param(lambda f: (f / "rows-000001.npy").unlink(), r"rows-000001\.npy: is missing", id="rows"),
        pytest.param(lambda f: (f / "rows-000001.npy").write_bytes(b"x"), "has 1 bytes, and", id="cut-short"),
        pytest.param(
            lambda f: (f / "names-000001.txt").write_text("a\tb\n"), "has 1 lines for 4", id="names"
        ),
    ],
)
def test_damage_is_named(tmp_path, damage, says):
    folder = make(tmp_path / "g", random_rows(4)).folder
    damage(folder)
    with pytest.raises(DataError, match=says):
        Gallery(folder).search(random_rows(1))


def _edit(folder, **changes):
    path = folder / "gallery.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_faiss_words_that_it_does_not_know_are_refused_before_any_work(tmp_path):
    def never():
        raise AssertionError
        yield

    with pytest.raises(
        ConfigError, match=r"--faiss is 'Nonsense', which faiss does not know: could not parse index"
    ):
        create(tmp_path / "g", card_of(32), never(), faiss="Nonsense")


CHANGES = ("create", "add", "remove")


def killed_change(folder: str, change: str) -> Setting:
    """For kill_at_each_step: what names it has then, and how many files after one change more."""
    changes = {
        "create": lambda gallery: create(
            gallery, card_of(32), [(random_rows(9), names(9))], storage="int8", overwrite=True
        ),
        "add": lambda gallery: add(gallery, [(random_rows(3, seed=1), names(3, start=5))], card=card_of(32)),
        "remove": lambda gallery: remove_names(gallery, ["name1", "name2"]),
    }

    def look(time: int):
        gallery = Path(folder) / str(time)
        found = named(Gallery(gallery))
        add(gallery, [(random_rows(1), [("later", "")])], card=card_of(32))  # which tidies up
        return found, len(Gallery(gallery)), len([*gallery.iterdir()])

    return Setting(
        where=folder,
        act=lambda time: changes[change](Path(folder) / str(time)),
        look=look,
        prepare=lambda time: make(Path(folder) / str(time), random_rows(5), storage="int8"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_leaves_the_state_before_or_after(tmp_path, change):
    """Killed where it opens, renames or deletes a file of the gallery, each time a step further."""
    looked = kill_at_each_step(f"{__name__}.killed_change", tmp_path, change, cwd=tmp_path)
    before = names(5)
    after = {
        "create": names(9),
        "add": [*names(5), *names(3, start=5)],
        "remove": [before[place] for place in (0, 3, 4)],
    }[change]
    found = [[tuple(each) for each in listed] for listed, _, _ in looked]
    assert {str(each) for each in found} == {str(before), str(after)}
    assert [rows for _, rows, _ in looked] == [len(each) + 1 for each in found]
    assert {files for *_, files in looked} == {5}  # the manifest, the lock, and those of one segment
    assert len(looked) > 6


@pytest.mark.parametrize(
    ("how", "count"),
    [({}, 9000), ({"storage": "int8"}, 24_000), ({"faiss": "Flat"}, 5000)],
    ids=["float32", "int8", "faiss"],
)
def test_a_full_disk_is_named_and_nothing_is_left_on_it(
    tmp_path: Path, how: dict[str, str], count: int
) -> None:
    """With faiss there is room for the rows, and none for the index."""
    rows = random_rows(count)
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises((OSError, DataError)) as caught:
            make(disk / "a" / "g", rows, **how)
        assert str(disk / "a" / "g") in str(caught.value)
        assert not (disk / "a" / "g").exists()
        gallery = make(disk / "kept", rows[:500], **how)
        before = {path.name: path.read_bytes() for path in gallery.folder.iterdir()}
        with pytest.raises((OSError, DataError)) as caught:
            add(gallery.folder, [(rows, names(len(rows)))], card=gallery.card)
        assert str(gallery.folder) in str(caught.value)
        assert {path.name: path.read_bytes() for path in gallery.folder.iterdir()} == before


def test_a_gallery_that_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new", tmp_path / "mine"):
        with pytest.raises(DataError, match="is zero or not finite"):
            make(folder, np.zeros((3, 32), np.float32))
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
