"""What each SOURCE of the command may be: all that data.train takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.protocols.world import evaluated, refused, write_images
from tests.data.sources.file_server import FileServer, served
from tests.data.sources.kinds import NAMES, folder, parquet, shards
from tests.processes import ENVIRONMENT

EACH = 6
Sources = dict[str, dict[str, tuple[object, ...]]]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sources")


@pytest.fixture(scope="module")
def there(base) -> Iterator[Sources]:
    """By what they are for and by kind, images of three classes."""
    with served(base) as server:
        parts = enumerate(("probes", "gallery", "strangers", "cohort"))
        yield {part: _kinds(base, part, seed, server) for seed, part in parts}


def _kinds(base: Path, part: str, seed: int, server: FileServer) -> dict[str, tuple[object, ...]]:
    """The same images in each kind; the paths in the list are relative to `base`."""
    path, listing = base / part, base / "lists" / f"{part}.txt"
    names = [f"plain/{name}/{number}.png" for name in NAMES for number in range(EACH)]
    write_images(path, names, seed=seed)
    listing.parent.mkdir(exist_ok=True)
    lines = "".join(f"{part}/{name}\t{name.split('/')[1]}\n" for name in names)
    listing.write_text(lines)
    (base / f"{part}.txt").write_text(lines)
    content = [(name.split("/")[1], (path / name).read_bytes()) for name in names]
    return {
        "folder": (path / "plain",),
        "list": (listing,),
        "URL": (f"file://{shards(path / 'shards', content).path}",),
        "parquet": (parquet(path / "parquet", content).path,),
        "HTTP": (server.url(f"{part}.txt"),),
        "several": tuple(folder(path / half, content[start::2]).path for start, half in enumerate("ab")),
    }


def words(option: str, places: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(word for place in places for word in (option, place))


def searched(there: Sources, kind: str) -> tuple[object, ...]:
    return (
        *words("--identification", there["probes"][kind]),
        *words("--gallery", there["gallery"][kind]),
        *words("--distractors", there["strangers"][kind]),
        *words("--as-norm", there["cohort"][kind]),
        *("--rank", 1, "--rank", 3, "--bootstrap", 0),
    )


@pytest.fixture(scope="module")
def expected(run, there) -> dict[str, object]:
    return evaluated(run, *searched(there, "folder"))


@pytest.mark.parametrize("kind", ["list", "URL", "HTTP", "parquet", "several"])
def test_each_kind_gives_the_figures_of_the_folder(run, base, there, expected, kind):
    root = ("--root", base) if kind == "list" else ()
    environment = ENVIRONMENT | {"XDG_CACHE_HOME": str(base / "cache")}  # of indices
    found = evaluated(run, *searched(there, kind), *root, environment=environment)
    assert found == pytest.approx(expected)


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
