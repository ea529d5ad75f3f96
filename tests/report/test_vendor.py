"""The files of other projects are those that were published, and come with the package."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from partialfc.report.vendor import UPLOT, uplot_script, uplot_style
from partialfc.report.vendor.refresh import integrity, refresh
from tests.paths import PACKAGE, ROOT

LOCK = json.loads((UPLOT / "lock.json").read_text())
FILES = {"uPlot.iife.min.js", "uPlot.min.css", "LICENSE"}

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="no npm: apt-get install npm")


def test_the_files_are_those_of_the_lock():
    assert {path.name for path in UPLOT.iterdir()} == FILES | {"lock.json"}
    assert {name: integrity((UPLOT / name).read_bytes()) for name in FILES} == {
        name: file["integrity"] for name, file in LOCK["files"].items()
    }


def test_pages_get_a_script_that_they_can_carry():
    assert f"(v{LOCK['version']}) */\nvar uPlot=" in uplot_script()
    assert "</script" not in uplot_script().lower()
    assert uplot_style().startswith(".uplot")


def test_a_wheel_has_all_that_draws_a_page(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "partialfc", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('out')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        page = PACKAGE / "report" / "run_page"
        drawing = [*UPLOT.iterdir(), *(page / "script").glob("*.js"), *page.glob("*.css")]
        assert len(drawing) > 10
        for path in drawing:
            assert archive.read(f"partialfc/{path.relative_to(PACKAGE)}") == path.read_bytes()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Another project's package as npm publishes them, and what was vendored of it so far."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "package.json").write_text('{"name": "curves", "version": "2.0.0"}')
    (tmp_path / "project" / "curves.js").write_text("var curves;\n")
    (tmp_path / "vendored").mkdir()
    (tmp_path / "vendored" / "curves.js").write_text("changed by hand")
    lock = {
        "package": "curves",
        "version": f"file:{tmp_path / 'project'}",  # npm takes a folder for a version
        "integrity": "sha512-another",
        "files": {"curves.js": {"path": "curves.js", "integrity": "sha512-another"}},
    }
    (tmp_path / "vendored" / "lock.json").write_text(json.dumps(lock))
    return tmp_path


@needs_npm
def test_make_vendor_refuses_another_archive_and_takes_another_version_if_asked(published):
    vendored = published / "vendored"
    version = f"file:{published / 'project'}"
    with pytest.raises(SystemExit, match=r"is not what was vendored: its checksum is .*nothing was"):
        refresh(vendored)
    assert (vendored / "curves.js").read_text() == "changed by hand"
    assert refresh(vendored, version) == f"curves {version} is in {vendored}: curves.js"
    assert (vendored / "curves.js").read_text() == "var curves;\n"
    (vendored / "curves.js").write_text("changed by hand")
    refresh(vendored)
    content = (vendored / "curves.js").read_bytes()
    lock = json.loads((vendored / "lock.json").read_text())
    assert lock["files"]["curves.js"] == {"path": "curves.js", "integrity": integrity(content)}


@needs_npm
def test_a_version_that_is_not_there_is_told_as_npm_tells_it(published):
    with pytest.raises(SystemExit, match=r"npm cannot fetch curves@file:.*none"):
        refresh(published / "vendored", f"file:{published / 'none'}")
