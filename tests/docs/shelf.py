"""What the documents' commands find when they are run: small data, one trained run, and a folder for a page.

A command runs as it is shown, but smaller: /path/to is the page's folder, processes are 2 at most, and a run
is a few steps of a small backbone. A service runs on a free port until the page ends, and curl asks it there.
"""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from partialfc.data.sources.source import open_source
from tests.data.align.faces import write_photos
from tests.glyph_run import write_glyphs
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, for_torchrun, warm_python
from tests.warm import WarmProcess

SMALL_RUN = (
    "backbone={name: convnet, embedding_size: 16}",
    "data.image_size=16",
    "data.workers=0",
    "schedule.warmup_steps=null",
    "schedule.warmup_epochs=null",
    "train.batch_size=8",
    "train.epochs=null",
    "train.log_every=1",
    "verification.folds=2",
    "metrics.port=null",
)
SHOWN = "http://127.0.0.1:8000"  # where a service is unless told otherwise
SMALLER = {"4": "2", "8": "2", "6000": "40"}


class Shelf:
    """Things that a page may start with, each made once.

    images, other/classes: folders of class folders; characters: one of glyphs, with enough classes to hold
    some out, and who.png: an image of one of them; data/glyphs: a set as `partialfc data glyphs` renders
    it; pairs.bin: pairs of other/classes; runs/mine: a run on images; photos, points.csv: drawn faces, and
    where; groups.txt, noises.txt: of the images of other/classes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_classes(folder / "images")
        write_classes(folder / "other" / "classes")
        write_glyphs(folder / "data")
        write_characters(folder / "characters", write_glyphs(folder / "more", characters=60))
        shutil.copy(min((folder / "characters").glob("*/*.png")), folder / "who.png")
        write_photos(folder)
        (folder / "groups.txt").write_text("".join(f"class-{n % 2}/{n}.jpg\tsmall\n" for n in range(6)))
        (folder / "noises.txt").write_text("class-0/0.jpg\n")
        desk = Desk(folder, self)
        desk.run(
            ["partialfc", "data", "pairs", f"{folder}/other/classes", f"{folder}/pairs.bin", "--pairs", "40"]
        )
        config = str(ROOT / "configs" / "folder.yaml")
        where = (f"data.train={folder}/images", f"run.dir={folder}/runs/mine")
        desk.run(["partialfc", "train", config, *where, f"verification.sets={{unseen: {folder}/pairs.bin}}"])


class Desk:
    """One page's folder, in which its commands are run."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self.folder = folder
        self.shelf = shelf
        self.names: dict[str, Any] = {"__name__": "__main__"}  # of the page's Python
        self._runs = 0
        self._services: list[WarmProcess] = []
        self._address = ""

    def lay_out(self, needs: list[str]) -> None:
        """Copies of what the shelf has, and of the repository's own files; a:b is a under the name b."""
        for need in needs:
            name, _, other = need.partition(":")
            source = self.shelf.folder / name if (self.shelf.folder / name).exists() else ROOT / name
            target = self.folder / (other or name)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)

    def run(self, shown: list[str]) -> str:
        """A command of a block in words, `> FILE` at its end too -> what it printed.

        Raises AssertionError where it fails.
        """
        if ">" in shown:
            shown, (target,) = shown[: shown.index(">")], shown[shown.index(">") + 1 :]
            (self.folder / target).write_text(self.run(shown))
            return ""
        variables = dict(word.split("=", 1) for word in shown if re.match(r"[A-Z_]+=", word))
        words = [SMALLER.get(w, w.replace("/path/to", str(self.folder))) for w in shown[len(variables) :]]
        if "train" in words:
            self._runs += 1
            words += [*SMALL_RUN, f"train.steps={2 * self._runs}"]
        if words[:2] == ["partialfc", "serve"]:
            return self._serve(words)
        if words[0] == "curl":
            words = [word.replace(SHOWN, self._address) for word in (*words, "--silent", "--fail-with-body")]
        # standalone: on a port of its own, for other torchruns may be on this machine
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        python = {"partialfc": ["-m", "partialfc"], "python": [], "torchrun": torchrun}
        environment = for_torchrun() | variables
        if words[0] in python:
            words = [*python[words[0]], *words[1:]]
            done = warm_python().run(*words, env=environment, cwd=self.folder)
        else:
            done = subprocess.run(
                words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
            )
        found = 3 if "check" in words else 0  # the status where a check found something
        says = f"{' '.join(shown)} ended with {done.returncode}:\n{done.stderr}"
        assert done.returncode in (0, found), says
        if words[0] == "curl":
            assert json.loads(done.stdout).get("found", True), (
                f"{' '.join(shown)} found nothing: {done.stdout}"
            )
        return done.stdout

    def _serve(self, words: list[str]) -> str:
        """`partialfc serve` on a free port, in the background -> its first line, once it listens."""
        options = ("--port", "0", "--threads", "1")
        command = ("-m", *words, *options)
        service = warm_python().start(
            *command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=2, cwd=self.folder
        )
        self._services.append(service)
        told = service.stdout.readline()
        found = re.search(r"http://\S+", told)
        assert found, f"{' '.join(words)} printed {told!r}"
        self._address = found[0]
        return told

    def close(self) -> None:
        """End what still runs; an AssertionError where a service does not end well."""
        for service in self._services:
            service.send_signal(signal.SIGTERM)
            service.stdout.read()
            assert service.wait() == 0


def write_characters(folder: Path, glyphs: Path) -> None:
    """The training images of a glyph set, a folder for each character."""
    source = open_source(glyphs / "train.rec")
    for index in range(len(source)):
        image, label = source.read(index)
        path = folder / f"{label:03d}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)


def write_classes(folder: Path, *, classes: int = 3, images: int = 6) -> None:
    generator = np.random.default_rng(0)
    for name in range(classes):
        (folder / f"class-{name}").mkdir(parents=True)
        for image in range(images):
            pixels = generator.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{name}" / f"{image}.jpg")
