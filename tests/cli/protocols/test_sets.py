"""The protocols on sets of images, against loops over the embeddings of single images."""

import itertools
import re
import shutil

import numpy as np
import pytest

from partialfc.evaluation.verification import verify
from tests.cli.protocols.world import Images, embedded, evaluated, refused, write_images
from tests.processes import call

CLASSES, EACH = 6, 5


@pytest.fixture(scope="module")
def images(run, tmp_path_factory) -> Images:
    """set/class/image, in other/ four classes more, of nobody there, and in one/ a single class of set/."""
    folder = tmp_path_factory.mktemp("images")
    names = [f"set/c{label}/{image}.png" for label in range(CLASSES) for image in range(EACH)]
    names += [f"other/s{label}/{image}.png" for label in range(4) for image in range(6)]
    names += [f"one/c0/{image}.png" for image in range(3)]
    write_images(folder, names)
    return embedded(run, folder)


def of(images: Images, part: str) -> list[str]:
    return [name for name in images.names if name.startswith(part)]


@pytest.mark.parametrize("ranks", [0, 2])
def test_all_pairs_and_those_of_groups(run, images, tmp_path, ranks):
    names = of(images, "set/")
    groups = tmp_path / "groups.txt"
    lines = [f"{name.removeprefix('set/')}\t{'low' if name < 'set/c3' else 'high'}\n" for name in names]
    groups.write_text("# who\n" + "".join(lines))
    words = ("--all-pairs", images.folder / "set", "--groups", groups, "--far", "0.05", "--far", "1e-6")
    found = evaluated(run, *words, "--bootstrap", 50, ranks=ranks)
    for chosen, figures in [
        (names, found),
        ([name for name in names if name < "set/c3"], found["groups"]["low"]),
        ([name for name in names if name >= "set/c3"], found["groups"]["high"]),
    ]:
        scores = images.scores(chosen, chosen)
        pairs = list(itertools.combinations(range(len(chosen)), 2))
        same = [images.identity(chosen[i]) == images.identity(chosen[j]) for i, j in pairs]
        expected = verify(np.array([scores[pair] for pair in pairs]), np.array(same), fars=[0.05])
        assert figures["tar@far=5e-2"] == expected.tar[0.05]
        assert figures["tar@far=1e-6"] is None
        assert figures["genuine_pairs"] == sum(same)
        low, high = figures["intervals"]["tar@far=5e-2"]
        assert low <= figures["tar@far=5e-2"] <= high


def ranking(images: Images, queries: list[str], gallery: list[str]) -> list[list[bool]]:
    """For each query, the gallery's images falling by score: is each of the query's class?"""
    scores = images.scores(queries, gallery)
    found = []
    for query, row in zip(queries, scores, strict=True):
        others = [place for place in np.argsort(-row) if gallery[place] != query]
        found.append([images.identity(gallery[place]) == images.identity(query) for place in others])
    return found


def average_precision(hits: list[bool]) -> float:
    places = np.flatnonzero(hits) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places))


def check_retrieval(found: dict, rankings: list[list[bool]], ranks: tuple[int, ...]) -> None:
    rankings = [hits for hits in rankings if any(hits)]
    assert found["queries"] == len(rankings)
    for k in ranks:
        assert found[f"recall@{k}"] == np.mean([any(hits[:k]) for hits in rankings])
    assert found["mAP"] == pytest.approx(np.mean(list(map(average_precision, rankings))))
    assert found["intervals"]["mAP"][0] <= found["mAP"] <= found["intervals"]["mAP"][1]


@pytest.mark.parametrize("ranks", [0, 2])
def test_retrieval_of_each_among_the_others(run, images, ranks):
    names = of(images, "set/")
    found = evaluated(run, "--retrieval", images.folder / "set", "--rank", 1, "--rank", 4, ranks=ranks)
    check_retrieval(found, ranking(images, names, names), (1, 4))
    assert found["gallery"] == len(names) - 1


def test_retrieval_in_a_gallery_with_names_alike(run, images, tmp_path):
    """The gallery lacks one of the classes, and has its own ids."""
    for name in of(images, "set/"):
        part = "gallery" if name[-5] in "01" and "c2" not in name else "queries"
        (tmp_path / part / images.identity(name)).mkdir(parents=True, exist_ok=True)
        (tmp_path / part / images.identity(name) / name[-5:]).symlink_to(images.folder / name)
    gallery = [name for name in of(images, "set/") if name[-5] in "01" and "c2" not in name]
    queries = [name for name in of(images, "set/") if name not in gallery]
    words = ("--retrieval", tmp_path / "queries", "--gallery", tmp_path / "gallery", "--rank", 1)
    found = evaluated(run, *words)
    check_retrieval(found, ranking(images, queries, gallery), (1,))
    assert found["without_mate"] == EACH


@pytest.mark.parametrize("ranks", [0, 3])
def test_identification_of_each_mate_among_distractors(run, images, ranks, tmp_path):
    """As MegaFace, without the probes and distractors of noise lists."""
    probe_noise, distractor_noise = tmp_path / "probes.txt", tmp_path / "distractors.txt"
    probe_noise.write_text("# found by hand\nc1/3.png\nno/such.png\n")
    distractor_noise.write_text("1\ts0/2.png\n2\ts3/0.png\n")
    words = ("--identification", images.folder / "set", "--distractors", images.folder / "other")
    words += ("--noise", probe_noise, "--noise", distractor_noise, "--rank", 1, "--rank", 3)
    found = evaluated(run, *words, ranks=ranks)
    probes = [name for name in of(images, "set/") if name != "set/c1/3.png"]
    strangers = [name for name in of(images, "other/") if name not in ("other/s0/2.png", "other/s3/0.png")]
    against, among = images.scores(probes, probes), images.scores(probes, strangers)
    before = [
        np.sum(among[i] >= against[i, j])
        for i, j in itertools.permutations(range(len(probes)), 2)
        if images.identity(probes[i]) == images.identity(probes[j])
    ]
    assert (found["probes"], found["distractors"]) == (len(probes), len(strangers))
    assert found["pairs"] == len(before)
    for k in (1, 3):
        assert found[f"rank-{k}"] == np.mean(np.array(before) < k)


def test_identification_in_tinyface(run, tmp_path):
    """In the layout in which it is published."""
    parts = {
        "Probe": [f"{identity}_{number}.png" for identity in (11, 12, 13) for number in (5, 6)],
        "Gallery_Match": [f"{identity}_{number}.png" for identity in (11, 12, 13) for number in (1, 2)],
        "Gallery_Distractor": [f"{number}.png" for number in range(9)],
    }
    folder = tmp_path / "tinyface" / "Testing_Set"
    for part, names in parts.items():
        for name in names:
            write_images(tmp_path, [f"{name.split('_')[0]}/x.png"], seed=hash((part, name)) % 1000)
            (folder / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / name.split("_")[0] / "x.png").rename(folder / part / name)
    found = evaluated(run, "--identification", tmp_path / "tinyface", "--rank", 1, "--rank", 2)
    images = embedded(run, folder)
    probes = [name for name in images.names if name.startswith("Probe")]
    gallery = [name for name in images.names if not name.startswith("Probe")]
    hits = {1: 0, 2: 0}
    for query, row in zip(probes, images.scores(probes, gallery), strict=True):
        falling = [gallery[place].split("/")[1].split("_")[0] for place in np.argsort(-row)]
        for k in hits:
            hits[k] += query.split("/")[1].split("_")[0] in falling[:k]
    assert found["distractors"] == 9
    assert {k: found[f"rank-{k}"] for k in hits} == {k: count / 6 for k, count in hits.items()}


def test_products_in_their_published_layouts(run, tmp_path):
    sop, shop = tmp_path / "sop", tmp_path / "shop"
    names = [f"bicycle_final/{label}_{image}.png" for label in range(4) for image in range(3)]
    write_images(sop, names)
    lines = [f"{n + 1} {n // 3 + 11319} 1 {name}\n" for n, name in enumerate(names)]
    (sop / "Ebay_test.txt").write_text("image_id class_id super_class_id path\n" + "".join(lines))
    found = evaluated(run, "--retrieval", sop)
    images = embedded(run, sop)
    images.identity = lambda name: name.split("/")[1].split("_")[0]  # type: ignore[method-assign]
    check_retrieval(found, ranking(images, names, names), (1,))
    assert "recall@10" not in found  # each is looked for among nine of other classes
    names = [
        f"img/WOMEN/Dresses/id_0000000{label}/0{image}_front.png" for label in range(4) for image in range(4)
    ]
    write_images(shop / "Img", names)
    status = ["train", "query", "gallery", "gallery"]
    lines = [f"{name} {name.split('/')[3]} {status[n % 4]}\n" for n, name in enumerate(names)]
    (shop / "Eval").mkdir()
    listing = shop / "Eval" / "list_eval_partition.txt"
    listing.write_text(f"{len(names)}\nimage_name item_id evaluation_status\n" + "".join(lines))
    found = evaluated(run, "--retrieval", shop)
    check_retrieval(
        found, ranking(embedded(run, shop / "Img"), names[1::4], sorted(names[2::4] + names[3::4])), (1,)
    )
    listing.write_text("2\nimage_name item_id evaluation_status\nimg/a.png id_1\n")
    assert "line 3: 'img/a.png id_1' has 2 fields, not 3" in refused(run, "--retrieval", shop)


def test_normalised_scores_and_saved_embeddings(run, images, tmp_path):
    words = ("--all-pairs", images.folder / "set", "--far", "0.05", "--as-norm", images.folder / "other")
    found = evaluated(run, *words, "--as-norm-top", 3, "--save-embeddings", tmp_path / "saved", ranks=2)
    names = of(images, "set/")
    saved = np.load(tmp_path / "saved" / "images" / "embeddings.npy")
    units = saved / np.linalg.norm(saved, axis=1, keepdims=True)
    assert units == pytest.approx(images.rows[images.names.index(names[0]) :][: len(names)], abs=1e-5)
    keys = (tmp_path / "saved" / "images" / "keys.txt").read_text().split("\n")
    assert keys == [*(name.removeprefix("set/") for name in names), ""]
    saving = ("--all-pairs", images.folder / "set", "--save-embeddings", tmp_path / "saved")
    assert "saved/images/embeddings.npy exists; name another folder, or replace it" in refused(run, *saving)
    evaluated(run, *saving, "--overwrite")
    assert np.load(tmp_path / "saved" / "images" / "embeddings.npy") == pytest.approx(saved, abs=1e-5)
    assert "--overwrite is for --save-embeddings" in refused(run, *saving[:2], "--overwrite")
    strangers = of(images, "other/")
    cohort = np.array(
        [images.rows[[images.names.index(n) for n in strangers if f"/s{c}/" in n]].mean(0) for c in range(4)]
    )
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    rows = images.rows[[images.names.index(name) for name in names]]
    top = np.sort(rows @ cohort.T, 1)[:, 1:]
    measured = ((rows @ rows.T).T - top.mean(1)).T / top.std(1)[:, None]
    scores = (measured + measured.T) / 2
    pairs = list(itertools.combinations(range(len(names)), 2))
    same = [images.identity(names[i]) == images.identity(names[j]) for i, j in pairs]
    expected = verify(np.array([scores[pair] for pair in pairs]), np.array(same), fars=[0.05])
    assert found["tar@far=5e-2"] == expected.tar[0.05]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--identification", "set"),
            "ConfigError: --identification looks for the probes in a gallery: give",
        ),
        (("--all-pairs", "set", "--rank", 1), "--rank goes with --identification or --retrieval"),
        (("--retrieval", "set/c1"), "DataError: "),
        (("--all-pairs", "set", "--far", 2), "ConfigError: --far is 2; it must lie between 0 and 1"),
        (
            ("--all-pairs", "set", "--as-norm", "other", "--as-norm-top", 300),
            "other has 4 classes, so it must be 2..4",
        ),
        (
            ("--all-pairs", "set", "--as-norm", "one"),
            "one, with images of one class: scores are measured against two classes at least",
        ),
        (("--all-pairs", "set", "--as-norm-top", 3), "--as-norm-top: it counts classes of a cohort"),
        (("--all-pairs", "one"), "one: 3 genuine and 0 impostor pairs"),
        (("--retrieval", "one"), "one: no query meets an image of another class"),
        (("--retrieval", "set", "--rank", 1, "--rank", 26), "--rank is 26: no search meets more than 25"),
        (("--retrieval", "one", "--gallery", "set", "--rank", 26), "it must be 1..25"),
        (
            ("--identification", "one", "--distractors", "other", "--rank", 25),
            "it must be 1..24",
        ),
        (("--all-pairs", "set", "--root", "other"), "--root is other, but no SOURCE is a text list"),
        (("--all-pairs", "set", "--groups", "nowhere"), "nowhere: cannot be read"),
        (("--retrieval", "set", "--gallery", "set"), "images are among both queries and gallery, such as "),
        (
            ("--identification", "set", "--distractors", "set"),
            "images are among both probes and distractors-0, such as ",
        ),
        (("--all-pairs", "set", "--as-norm", "set"), "images are among both images and --as-norm, such as "),
    ],
    ids=[
        "no gallery",
        "another's option",
        "no classes",
        "far",
        "small cohort",
        "cohort of one class",
        "no cohort",
        "pairs of one class",
        "retrieval of one class",
        "rank beyond the set",
        "rank beyond the gallery",
        "rank beyond the distractors",
        "root of no list",
        "no groups",
        "queries in the gallery",
        "probes as distractors",
        "cohort of the images",
    ],
)
def test_what_cannot_be_measured_is_said_in_a_line(run, images, words, says):
    folders = ("set", "set/c1", "other", "one")
    given = [
        images.folder / word if word in folders and words[max(at - 1, 0)] != "--root" else word
        for at, word in enumerate(words)
    ]
    assert says in refused(run, *given)


def test_usual_ranks_as_far_as_a_search_can_miss(run, images):
    """30 images of 6 classes: each is looked for among 25 of other classes."""
    found = evaluated(run, "--retrieval", images.folder / "set", "--bootstrap", 0)
    assert [name for name in found if "@" in name] == ["recall@1", "recall@10"]
    words = ("--identification", images.folder / "one", "--distractors", images.folder / "set" / "c1")
    found = evaluated(run, *words, "--bootstrap", 0)
    assert [name for name in found if "rank" in name] == ["rank-1", "rank-5"]


def test_the_usual_cohort_is_as_large_as_there_is(run, images):
    words = ("--all-pairs", images.folder / "set", "--far", "0.05", "--as-norm", images.folder / "other")
    assert evaluated(run, *words) == evaluated(run, *words, "--as-norm-top", 4)


def test_a_cohort_with_the_names_of_those_who_are_compared_is_warned_of(run, images, tmp_path):
    """Their files are others, so that no image is measured against itself."""
    mine = sorted((images.folder / "other").iterdir())
    for folder, name in zip(mine, ("c1", "c0", *(each.name for each in mine[2:])), strict=True):
        shutil.copytree(folder, tmp_path / "cohort" / name)
    how = ("--trust", "tests.train_cases", "--device", "cpu", "--bootstrap", 0)
    words = ("evaluate", run, *how, "--all-pairs", images.folder / "set", "--far", "0.05", "--as-norm")
    warned = call(*words, tmp_path / "cohort", ranks=2)
    assert warned.returncode == 0, warned.stderr
    said = re.findall(r"--as-norm .* are named as .*", warned.stderr)
    assert said == [
        f"--as-norm {tmp_path}/cohort: 2 of its 4 classes are named as classes of {images.folder}/set are, "
        "such as c0: a cohort must show others than those who are compared; take these out, unless only the "
        "names are alike"
    ]
    assert "are named as" not in call(*words, images.folder / "other").stderr
