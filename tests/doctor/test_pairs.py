"""The verification sets."""

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet, write_pairs
from partialfc.data.sources.source import open_source
from partialfc.doctor import Level
from tests.doctor.cases import found, quick


def test_verification_files_that_cannot_be_used_are_red(folder):
    pairs = folder / "pairs.bin"
    write_pairs(pairs, make_pairs(open_source(folder / "train.rec"), pairs=6, seed=0))
    sets = {"sets": {"mine": str(pairs)}, "folds": 3}
    assert found(quick(folder, verification=sets), "verification").level == Level.GREEN
    few = found(quick(folder, verification={**sets, "folds": 10}), "verification")
    assert few.level == Level.RED
    assert "6 pairs, and the 10 of verification.folds need 20" in few.says
    pairs.write_bytes(pairs.read_bytes()[:100])
    damaged = found(quick(folder, verification=sets), "verification")
    assert damaged.level == Level.RED
    assert "verification.sets.mine" in damaged.says


def test_a_set_with_an_image_that_cannot_be_decoded_is_red_until_it_is_drawn_again(folder):
    pairs = folder / "pairs.bin"
    source = open_source(folder / "train.rec")
    drawn = make_pairs(source, pairs=6, seed=0)
    write_pairs(pairs, PairSet([*drawn.images[:-1], b"P5 70000 70000 255\n"], drawn.same))
    sets = {"sets": {"mine": str(pairs)}, "folds": 3}
    check = found(quick(folder, verification=sets), "verification")
    assert check.level == Level.RED
    assert "image 11 (pair 5): 70000 x 70000 pixels" in check.says
    assert "partialfc data pairs" in check.remedy
    write_pairs(pairs, make_pairs(source, pairs=6, seed=0, max_pixels=64))
    assert found(quick(folder, verification=sets), "verification").level == Level.GREEN


def test_damage_behind_an_images_header_is_found(folder):
    drawn = make_pairs(open_source(folder / "train.rec"), pairs=6, seed=0)
    write_pairs(folder / "pairs.bin", PairSet([drawn.images[0][:-20], *drawn.images[1:]], drawn.same))
    sets = {"sets": {"mine": str(folder / "pairs.bin")}, "folds": 3}
    assert "image 0 (pair 0): damaged" in found(quick(folder, verification=sets), "verification").says
