"""The commands of docs/how-to/serve.md: `partialfc serve` is started, and curl asks it as the page shows."""

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks
from tests.serving.service.cases import jpeg, png, serving, write_model

PAGE = DOCS / "how-to" / "serve.md"
SHOWN = "http://127.0.0.1:8000"  # where a service is unless told otherwise


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_shows_what_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but `pip install '.[serve]'`, which an environment with the extra has behind it."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model.onnx")
    for seed, name in enumerate(("face.jpg", "a.jpg", "anna1.jpg", "anna2.jpg", "who.jpg")):
        (tmp_path / name).write_bytes(jpeg(seed))
    (tmp_path / "b.png").write_bytes(png(9))
    (tmp_path / "who.jpg").write_bytes(jpeg(2))
    answers, address = [], SHOWN
    with ExitStack() as stack:
        for line in (
            line for block in blocks(PAGE) if block.kind == "run by" for line in block.text.splitlines()
        ):
            if line.startswith("partialfc serve "):
                stack.close()
                model, *options = line.split()[2:]
                service = stack.enter_context(serving(tmp_path / model, *options))
                address = f"http://127.0.0.1:{service.port}"
            elif not line.startswith("pip "):
                assert line.startswith(("curl ", "openssl "))
                silent = line.replace(SHOWN, address).replace("curl ", "curl --silent --show-error --fail ")
                done = subprocess.run(["bash", "-c", silent], capture_output=True, text=True, env=os.environ)
                assert done.returncode == 0, (line, done.stderr)
                answers += [json.loads(done.stdout)] if line.startswith("curl ") else []
    embedded, verified, added, searched, card = answers
    assert len(embedded["embeddings"]) == 1
    assert verified["far"] == 1e-3
    assert added["images"] == 2
    assert searched["name"] == "anna"
    assert card["name"] == "small"
