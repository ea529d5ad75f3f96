"""A gallery that is changed while it is searched: found exactly as one that was built of all rows."""

import resource
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from partialfc.errors import ConfigError
from partialfc.serving.gallery import segments
from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.gallery import Gallery, Match
from partialfc.serving.gallery.update import add, remove_names
from partialfc.serving.gallery.writable import WritableGallery
from partialfc.serving.rows import Rows
from tests.serving.gallery.cases import card_of, make, names, random_rows, stored_rows
from tests.serving.kills import Setting, kill_at_each_step

ALL = [{"storage": "float32"}, {"storage": "float16"}, {"storage": "int8"}, {"faiss": "Flat"}]
STORAGES = pytest.mark.parametrize("how", ALL, ids=["float32", "float16", "int8", "faiss"])
COUNT = 200
NEW = random_rows(150, seed=1)
# More images of a name, a new one, one that goes, one that goes and comes again, one that comes and goes.
CHANGES = [
    Change("name0", NEW[:2]),
    *[Change(f"new{number}", NEW[number : number + 1]) for number in range(2, 149)],
    Change("name1", None),
    Change("name2", None),
    Change("new5", None),
    Change("name2", NEW[149:]),
]


def after() -> tuple[Rows, list[tuple[str, str]]]:
    """All rows and names once the changes are made."""
    rows = [*random_rows(COUNT), *NEW]
    listed = [*names(COUNT), ("name0", ""), ("name0", "")]
    listed += [(f"new{number}", "") for number in range(2, 149)] + [("name2", "")]
    gone = {*(place for place, (name, _) in enumerate(listed[:-1]) if name in ("name1", "name2", "new5"))}
    kept = [place for place in range(len(listed)) if place not in gone]
    return np.stack([rows[place] for place in kept]), [listed[place] for place in kept]


def ask(gallery: Gallery, k: int = 7) -> list[list[Match]]:
    return gallery.search(random_rows(20, seed=2), k)


def opened(folder: Path) -> closing[WritableGallery]:
    return closing(WritableGallery(folder))


def log_size(folder: Path) -> int:
    (log,) = folder.glob("changes-*.log")
    return log.stat().st_size


@STORAGES
def test_it_is_searched_as_one_that_was_built_so(tmp_path: Path, how: dict[str, str]) -> None:
    """By who changes it, by who only reads it, and once the log has become part of the gallery."""
    folder = make(tmp_path / "g", random_rows(COUNT), **how).folder
    rows, listed = after()
    built = make(tmp_path / "built", rows, names=listed, **how)
    before = ask(Gallery(folder))
    with opened(folder) as gallery:
        begun = log_size(folder)
        counts = gallery.change(CHANGES[:1]) + gallery.change(CHANGES[1:])
        assert counts == [2, *[1] * 147, 29, 29, 1, 1]
        reader = Gallery(folder)
        for each in (gallery, reader):
            assert len(each) == len(built)
            assert ask(each) == ask(built)
            assert [*each.names()] == [name for name, _ in listed]
            assert sum(each.counts(["name0", "name1", "name2", "new5"]).values()) == 29 + 2 + 1
        assert log_size(folder) > begun
    with opened(folder) as gallery:
        assert log_size(folder) == begun
        assert ask(gallery) == ask(built)
        assert np.array_equal(stored_rows(gallery), stored_rows(built))
    assert ask(reader) == ask(built)
    assert ask(Gallery(folder)) != before


def test_rows_that_two_forms_of_a_name_remove_count_once(tmp_path: Path) -> None:
    one, two = "Jos\u00e9", "Jose\u0301"
    with opened(make(tmp_path / "g", random_rows(7)).folder) as gallery:
        gallery.change([Change(one, NEW[:2]), Change(two, NEW[2:3])])
        assert gallery.change([Change(two, None), Change(one, None)]) == [3, 0]
        assert len(gallery) == 7


def test_a_search_goes_on_in_what_it_began_with(tmp_path: Path) -> None:
    with opened(make(tmp_path / "g", random_rows(COUNT)).folder) as gallery:
        begun = [gallery._view]
        for change in CHANGES:
            gallery.change([change])
            begun.append(gallery._view)
        counts = [COUNT, *np.cumsum([COUNT + 2, *[1] * 147, -29, -29, -1, 1]).tolist()]
        assert [view.shown for view in begun] == counts
        for view in begun[1:149:7]:
            place = len(view.segments[0]) + len(view.added) - 1
            row = view.parts[-1].floats([len(view.added) - 1])
            _, found = view.search(row.astype(np.float32), 1, threads=1)
            assert found.tolist() == [[place]]


@STORAGES
def test_of_equal_rows_the_first_by_name_is_better_wherever_they_lie(tmp_path: Path, how) -> None:
    row = random_rows(1)
    folder = make(tmp_path / "g", np.repeat(row, 2, axis=0), names=[("d", ""), ("c", "")], **how).folder
    with opened(folder) as gallery:
        gallery.change([Change("b", row), Change("a", row)])
        found = gallery.search(row, 3)
        assert [each.name for each in found[0]] == ["a", "b", "c"]
        assert [each.name for each in gallery.search(row, 1)[0]] == ["a"]
        assert gallery.search_places(row, 3)[1].tolist() == [[0, 1, 2]]  # which are the first ones
        assert len({each.score for each in found[0]}) == 1
        assert abs(found[0][0].score) <= 1
    assert Gallery(folder).search(row, 3) == found
    add(folder, [], card=card_of(32))
    assert Gallery(folder).search(row, 3) == found


def test_commands_see_what_was_changed(tmp_path: Path) -> None:
    folder = make(tmp_path / "g", random_rows(7)).folder
    with opened(folder) as gallery:
        gallery.change([Change("anna", NEW[:2]), Change("name1", None)])
        for command in (
            lambda: add(folder, [(NEW[3:4], [("bob", "")])], card=card_of(32)),
            lambda: remove_names(folder, ["anna"]),
            lambda: WritableGallery(folder),
        ):
            with pytest.raises(ConfigError, match=r"another process is changing it, or serves it"):
                command()
    assert remove_names(folder, ["anna"]) == 2
    assert add(folder, [(NEW[3:4], [("bob", "")])], card=card_of(32)) == 1
    assert sorted(Gallery(folder).names()) == sorted(["bob", *(f"name{n}" for n in (0, 2, 3, 4, 5, 6))])


def test_a_name_that_was_removed_and_is_added_by_a_command_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "g", random_rows(7)).folder
    with opened(folder) as gallery:
        gallery.change([Change("name1", None)])
    assert add(folder, [(NEW[:1], [("name1", "")])], card=card_of(32)) == 1
    with opened(folder) as gallery:
        assert gallery.counts(["name1"]) == {"name1": 1}
        assert gallery.search(NEW[:1], 1)[0][0].name == "name1"


def test_in_all_parts_what_is_removed_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only from the first part that has some of it on is anything written again."""
    monkeypatch.setattr(segments, "MOST_ROWS", 50)
    listed = [(f"{number // 60}", "") for number in range(COUNT)]
    folder = make(tmp_path / "g", random_rows(COUNT), names=listed).folder
    first = next(folder.glob("rows-*1.npy")).stat().st_ino
    with opened(folder) as gallery:
        assert gallery.change([Change("1", None), Change("1", None), Change("3", None)]) == [60, 0, 20]
        assert {each.name for each in ask(gallery, 200)[0]} == {"0", "2"}
    with opened(folder) as gallery:
        assert [*gallery.names()] == ["0"] * 60 + ["2"] * 60
        assert next(folder.glob("rows-*1.npy")).stat().st_ino == first
        gallery.change([Change("0", None), Change("2", None)])
        assert (len(gallery), ask(gallery)) == (0, [[]] * 20)
    with opened(folder) as gallery:
        assert (len(gallery), ask(gallery)) == (0, [[]] * 20)


@pytest.mark.parametrize(
    ("how", "largest"), [({}, COUNT * 32 * 4), ({"faiss": "HNSW32"}, 50_000)], ids=["rows", "index"]
)
def test_without_room_on_the_disk_the_log_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: dict[str, str], largest: int
) -> None:
    """And what was begun is gone, so that there is as much room for changes as before."""
    folder = make(tmp_path / "g", random_rows(COUNT), **how).folder
    with opened(folder) as gallery:
        gallery.change(CHANGES)
        found = ask(gallery)
    files = {path.name for path in folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        with opened(folder) as gallery:
            assert ask(gallery) == found
            assert {path.name for path in folder.iterdir()} == files
            gallery.change([Change("new3", None)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "its log stays as it is: " in caplog.text
    with opened(folder) as again:
        assert (sum(again.counts(["new3", "new4"]).values()), len(again)) == (1, len(after()[0]) - 1)
        assert len([*folder.iterdir()]) == 5 + len(how)


def killed_opening(folder: str) -> Setting:
    """For kill_at_each_step: what it finds after the kill, then once it is opened, and its files then."""

    def prepare(time: int) -> None:
        gallery = make(Path(folder) / str(time), random_rows(COUNT))
        with opened(gallery.folder) as changed:
            changed.change(CHANGES)

    def look(time: int):
        gallery = Path(folder) / str(time)
        killed = Gallery(gallery)
        with opened(gallery) as again:
            found = [[[each.name, each.score] for each in matches] for matches in ask(again)]
            same = ask(killed) == ask(again) and [*killed.names()] == [*again.names()]
            return same, [*again.names()], found, len([*gallery.iterdir()])

    return Setting(
        where=folder,
        act=lambda time: WritableGallery(Path(folder) / str(time)).close(),
        look=look,
        prepare=prepare,
    )


@pytest.mark.slow
def test_a_kill_while_the_log_becomes_part_of_it_loses_nothing(tmp_path: Path) -> None:
    """Killed where it opens, renames or deletes a file of the gallery, each time a step further."""
    looked = kill_at_each_step(f"{__name__}.killed_opening", tmp_path, cwd=tmp_path)
    rows, listed = after()
    built = make(tmp_path / "built", rows, names=listed)
    expected = [[[each.name, each.score] for each in matches] for matches in ask(built)]
    for same, found_names, found, files in looked:
        assert same
        assert found_names == [name for name, _ in listed]
        assert found == expected
        assert files == 5  # the manifest, the lock, rows, names and the log
    assert len(looked) > 8
