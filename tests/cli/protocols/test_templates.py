"""IJB's protocols by the command, against loops over the lists."""

import numpy as np
import pytest
import torch

from partialfc.data.align.crop import align_face
from partialfc.data.images.codec import decode, encode_png
from partialfc.evaluation.embed import embed
from partialfc.evaluation.verification import verify
from partialfc.trained import load_trained
from tests.cli.protocols.ijb import write_ijb
from tests.cli.protocols.world import evaluated, refused


def lines(path):
    return [line.split() for line in path.read_text().splitlines()]


def by_loops(run, folder, prefix, *, align: bool, weighted: bool, norm: bool) -> dict[int, np.ndarray]:
    """The unit embedding of each template."""
    trained = load_trained(run, trust=["tests.train_cases"])
    media: dict[int, dict[int, list[np.ndarray]]] = {}
    of_media = lines(folder / "meta" / f"{prefix}_face_tid_mid.txt")
    faces = lines(folder / "meta" / f"{prefix}_name_5pts_score.txt")
    for (name, template, medium), (_, *points, score) in zip(of_media, faces, strict=True):
        image = (folder / "loose_crop" / name).read_bytes()
        if align:
            image = encode_png(align_face(decode(image), np.array(points, float).reshape(5, 2)))
        (row,) = embed(
            trained.backbone,
            [image],
            image_size=trained.image_size,
            channels=trained.channels,
            device=torch.device("cpu"),
            flip="sum",
        )
        row = row.double().numpy()
        row = row if norm else row / np.linalg.norm(row)
        row = row * (float(score) if weighted else 1)
        media.setdefault(int(template), {}).setdefault(int(medium), []).append(row)
    found = {number: sum(np.mean(frames, 0) for frames in own.values()) for number, own in media.items()}
    return {number: row / np.linalg.norm(row) for number, row in found.items()}


PLAIN = ("--no-align", "--no-norm-weight", "--no-detector-score")


@pytest.mark.parametrize(
    ("prefix", "letter", "ranks", "plain"),
    [("ijbc", "G", 0, False), ("ijbb", "S", 2, True)],
    ids=["ijb-c", "ijb-b on two ranks"],
)
def test_as_loops_over_the_lists(run, tmp_path, prefix, letter, ranks, plain):
    write_ijb(tmp_path / "ijb", prefix=prefix, letter=letter)
    words = ("--templates", tmp_path / "ijb", "--flip", "sum", "--far", "0.1", "--far", "1e-6")
    words += PLAIN if plain else ()
    found = evaluated(run, *words, "--rank", 1, "--rank", 2, "--bootstrap", 100, ranks=ranks)
    rows = by_loops(run, tmp_path / "ijb", prefix, align=not plain, weighted=not plain, norm=not plain)
    pairs = np.array(lines(tmp_path / "ijb" / "meta" / f"{prefix}_template_pair_label.txt"), int)
    scores = np.array([rows[a] @ rows[b] for a, b, _ in pairs.tolist()])
    expected = verify(scores, pairs[:, 2], folds=2, fars=[0.1])
    assert found["1:1"]["tar@far=1e-1"] == expected.tar[0.1]
    assert found["1:1"]["tar@far=1e-6"] is None
    assert found["1:1"]["auc"] == pytest.approx(expected.auc)
    hits = {1: [], 2: []}
    for gallery in ((1, 2, 3), (4, 5)):
        for probe in range(6, 15):
            if probe % 5 in [each % 5 for each in gallery]:
                falling = sorted(gallery, key=lambda each: -(rows[probe] @ rows[each]))
                for k in hits:
                    hits[k].append(probe % 5 in [each % 5 for each in falling[:k]])
    assert found["1:N"]["searches"] == len(hits[1])
    for k in hits:
        assert found["1:N"][f"rank-{k}"] == np.mean(hits[k])
        low, high = found["1:N"]["intervals"][f"rank-{k}"]
        assert low <= found["1:N"][f"rank-{k}"] <= high
    assert set(found) == {"1:1", "1:N gallery 1", "1:N gallery 2", "1:N"}
    assert found["1:N gallery 1"]["rank-2"] is not None
    assert found["1:N gallery 2"]["rank-2"] is None  # one of its two templates is the mate
    assert "it must be 1..2" in refused(run, "--templates", tmp_path / "ijb", "--rank", 3)


def test_missing_templates(run, tmp_path):
    write_ijb(tmp_path, missing=(7, 12))
    words = ("--templates", tmp_path, "--no-align")
    assert "2 templates have no image, such as template 7 of a pair; give" in refused(run, *words)
    found = evaluated(run, *words, "--missing", "reject", "--bootstrap", 0, "--rank", 2)
    assert found["1:N"]["searches"] == 9
    assert found["1:N gallery 1"]["rank-2"] <= 4 / 6 + 1e-9  # both that are missing are never found
    assert "intervals" not in found["1:1"]


def test_normalised_by_a_cohort(run, tmp_path):
    write_ijb(tmp_path / "ijb")
    words = ("--templates", tmp_path / "ijb", "--no-align", "--bootstrap", 0)
    plain = evaluated(run, *words)
    cohort = run.parent / "train.rec"
    found = evaluated(run, *words, "--as-norm", cohort, "--as-norm-top", 5)
    assert found["1:1"]["auc"] != plain["1:1"]["auc"]
    assert found["1:1"]["genuine_pairs"] == plain["1:1"]["genuine_pairs"]
