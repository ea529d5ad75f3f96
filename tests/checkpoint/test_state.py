"""state.json."""

import json

from tests.checkpoint.cases import C, save


def test_state_is_readable_json(tmp_path):
    save(str(tmp_path), 3, note="ü")
    seal, _, body = (tmp_path / "step-00000003" / "state.json").read_text().partition("\n")
    assert seal.startswith("// crc32 ")
    state = json.loads(body)
    assert state["note"] == "ü"
    assert state["num_classes"] == C
    assert set(state["files"]) == {".metadata", "__0_0.distcp"}
