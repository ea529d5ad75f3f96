"""What each SOURCE of the command may be: all that data.train takes."""

from pathlib import Path

import pytest

from tests.cli.protocols.world import evaluated, refused, write_images
from tests.data.sources.kinds import NAMES, folder, parquet, shards

EACH = 6
Sources = dict[str, dict[str, tuple[object, ...]]]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sources")


@pytest.fixture(scope="module")
def there(base) -> Sources:
    """By what they are for and by kind, images of three classes."""
    return {part: _kinds(base, part, seed) for seed, part in enumerate(("probes", "gallery", "strangers"))}


def _kinds(base: Path, part: str, seed: int) -> dict[str, tuple[object, ...]]:
    """The same images in each kind; the paths in the list are relative to `base`."""
    path, listing = base / part, base / "lists" / f"{part}.txt"
    names = [f"plain/{name}/{number}.png" for name in NAMES for number in range(EACH)]
    write_images(path, names, seed=seed)
    listing.parent.mkdir(exist_ok=True)
    listing.write_text("".join(f"{part}/{name}\t{name.split('/')[1]}\n" for name in names))
    content = [(name.split("/")[1], (path / name).read_bytes()) for name in names]
    return {
        "folder": (path / "plain",),
        "list": (listing,),
        "URL": (f"file://{shards(path / 'shards', content).path}",),
        "parquet": (parquet(path / "parquet", content).path,),
        "several": tuple(folder(path / half, content[start::2]).path for start, half in enumerate("ab")),
    }


def words(option: str, places: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(word for place in places for word in (option, place))


def searched(there: Sources, kind: str) -> tuple[object, ...]:
    return (
        *words("--identification", there["probes"][kind]),
        *words("--gallery", there["gallery"][kind]),
        *words("--distractors", there["strangers"][kind]),
        *words("--as-norm", there["strangers"][kind]),
        *("--rank", 1, "--rank", 3, "--bootstrap", 0),
    )


@pytest.fixture(scope="module")
def expected(run, there) -> dict[str, object]:
    return evaluated(run, *searched(there, "folder"))


@pytest.mark.parametrize("kind", ["list", "URL", "parquet", "several"])
def test_each_kind_gives_the_figures_of_the_folder(run, base, there, expected, kind):
    root = ("--root", base) if kind == "list" else ()
    assert evaluated(run, *searched(there, kind), *root) == pytest.approx(expected)


def test_all_pairs_of_classes_on_any_level(run, base, there):
    """Two folders are one source; --class-depth 0 finds the class folders itself."""
    how = ("--far", "0.1", "--bootstrap", 0)
    found = evaluated(run, *words("--all-pairs", there["probes"]["several"]), *how)
    assert (found["images"], found["classes"]) == (len(NAMES) * EACH, len(NAMES))
    deep = evaluated(run, "--all-pairs", base / "strangers" / "plain", "--class-depth", 0, *how)
    assert (deep["images"], deep["classes"]) == (len(NAMES) * EACH, len(NAMES))


def test_a_source_that_there_is_not_is_named_as_it_was_given(run):
    url = "memory://nowhere/a.tar"
    assert f"DataError: {url}: does not exist" in refused(run, "--retrieval", url)
