"""The verification sets."""

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
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
    assert "verification.folds is 10" in few.says
    pairs.write_bytes(pairs.read_bytes()[:100])
    damaged = found(quick(folder, verification=sets), "verification")
    assert damaged.level == Level.RED
    assert "verification.sets.mine" in damaged.says
