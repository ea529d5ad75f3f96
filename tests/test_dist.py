"""What is built to be installed elsewhere: an sdist, a wheel, and the documents' commands from the wheel."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

import partialfc
from tests.docs.shelf import SMALL_RUN, write_characters
from tests.glyph_run import write_fonts
from tests.paths import ROOT
from tests.warm import StartedPython

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository, to know its files"),
]
NAME = f"partialfc-{partialfc.__version__}"
EPOCH = "1700000000"


def tracked() -> list[str]:
    """The repository's files, new ones that git does not ignore among them; links to folders are followed."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    paths = [ROOT / name for name in set(listed) if name and (ROOT / name).exists()]
    files = [path for path in paths if path.is_file()]
    files += [each for path in paths if path.is_dir() for each in path.iterdir()]
    return sorted(str(path.relative_to(ROOT)) for path in files)


def build(folder: Path, *command: object, umask: int, **environment: str) -> Path:
    """The folder that a command makes of it in a copy of the repository's files."""
    for name in tracked():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "tree" / name)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder / "tree",
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH} | environment,
        umask=umask,
        capture_output=True,
        text=True,
    )
    if "No matching distribution" in done.stderr or "Connection" in done.stderr:
        pytest.skip(f"pip reaches no packages: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder / "tree" / "dist"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"), "bash", ".ci/dist", "dist", sys.executable, umask=0o022)


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ of an environment with the wheel; what partialfc needs is that of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    # Packages there are seen, but not the .pth files there, by which an editable install is found.
    where = {"base": str(folder), "platbase": str(folder)}
    (Path(sysconfig.get_path("purelib", vars=where)) / "needed.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )
    pip(folder, "install", "--quiet", "--no-deps", "--no-index", dist / f"{NAME}-py3-none-any.whl")
    return folder / "bin"


def pip(environment: Path, *words: object) -> str:
    """pip's output; of `check` what it finds, too."""
    command = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=clean(environment))
    assert done.returncode == 0 or words[0] == "check", done.stderr
    return done.stdout


def clean(environment: Path) -> dict[str, str]:
    """As after `source bin/activate`, with nothing of the checkout in it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"PATH": f"{environment / 'bin'}:{kept['PATH']}", "OMP_NUM_THREADS": "1"}


def test_an_sdist_has_every_file_of_the_repository(dist):
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        members = archive.getmembers()
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(int(EPOCH), 0, 0)}
    names = {member.name.removeprefix(f"{NAME}/") for member in members if member.isfile()}
    made = {name for name in names if name.startswith("partialfc.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert names - made == set(tracked())


def test_a_wheel_has_every_file_of_the_package_and_nothing_else(dist):
    with ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
        described = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        for licence in ("LICENSE", "partialfc/report/vendor/uplot/LICENSE"):
            assert wheel.read(f"{NAME}.dist-info/licenses/{licence}") == (ROOT / licence).read_bytes()
    assert names == {name for name in tracked() if name.startswith("partialfc/")}
    assert {"partialfc/py.typed", "partialfc/config/examples/quickstart.yaml"} <= names
    assert f"\nVersion: {partialfc.__version__}\n" in described
    assert "\nLicense-Expression: Apache-2.0 AND MIT\n" in described
    assert (ROOT / "README.md").read_text().strip() in described


def test_the_extras_are_told(dist):
    with ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        described = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()
    told = re.findall(r"`([^`]+)`", "".join(re.findall(r"(?m)^\| (`.+?) \|", page)))
    assert set(told) >= set(re.findall(r"(?m)^Provides-Extra: (\S+)$", described))


def test_make_dist_needs_no_environment_and_gives_the_same_bytes(dist, tmp_path):
    """It makes one with what pyproject.toml says that a build requires, and nothing else."""
    (tmp_path / "same").write_text(f"setuptools=={metadata.version('setuptools')}\n")
    constraint = str(tmp_path / "same")
    command = ("make", "dist", f"PYTHON={sys.executable}")
    made = build(tmp_path, *command, umask=0o077, PIP_CONSTRAINT=constraint)
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in dist.iterdir())
    for again in made.iterdir():
        assert again.read_bytes() == (dist / again.name).read_bytes(), again.name
    assert not (tmp_path / "tree/.venv").exists()
    installed = map(str, (tmp_path / "tree/build/builder").glob("lib/*/site-packages"))
    packages = {each.metadata["name"] for each in metadata.distributions(path=[*installed])}
    assert packages == {"pip", "setuptools"}


@pytest.fixture
def warm(installed: Path, tmp_path: Path) -> Iterator[StartedPython]:
    """Starts Python there without its seconds of imports: these are done, of the wheel's files."""
    python = StartedPython(installed / "python", env=clean(installed.parent), cwd=tmp_path)
    yield python
    python.close()


def test_the_commands_of_the_documents_run_from_the_wheel(installed, warm, tmp_path):
    """In an empty folder: glyphs, a config that comes along, a run on one and on two processes, a report."""
    environment = clean(installed.parent)

    def run(program: str, *words: object) -> str:
        if program == "python":
            ranks = environment | {"PYTHON_EXEC": str(warm.executable)}
            done = warm.run(*words, env=ranks, cwd=tmp_path)
        else:
            command = [str(installed / program), *map(str, words)]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{program} {' '.join(map(str, words))}:\n{done.stderr}"
        return done.stdout

    def warmly(*words: object) -> str:
        return run("python", "-m", "partialfc", *words)

    told = "import partialfc, importlib.metadata as m; print(partialfc.__file__, m.version('partialfc'))"
    file, version = run("python", "-c", told).split()
    assert Path(file).is_relative_to(installed.parent)
    assert run("partialfc", "--version") == f"partialfc {version}\n" == f"partialfc {partialfc.__version__}\n"
    assert [line for line in pip(installed.parent, "check").splitlines() if "partialfc" in line] == []

    fonts = write_fonts(tmp_path / "fonts", characters=66)
    small = ("--size", 16, "--min-faces", 3, "--holdout", 6, "--pairs", 40)
    warmly("data", "glyphs", "data/glyphs", "--fonts", fonts, *small)
    (tmp_path / "mine.yaml").write_text(warmly("config", "--example", "quickstart"))
    smaller = (*SMALL_RUN, "data.channels=1")
    run("partialfc", "train", "mine.yaml", *smaller, "train.steps=2")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    run("python", *torchrun, "-m", "partialfc", "train", "mine.yaml", *smaller, "train.steps=4")
    found = warmly("evaluate", "runs/quickstart", "--pairs", "data/glyphs/pairs.bin", "--folds", 2)
    assert "40 pairs" in found
    assert "step 4" in run("partialfc", "report", "runs/quickstart")
    write_characters(tmp_path / "images", tmp_path / "data" / "glyphs")
    warmly("init", "images", "-o", "suggested.yaml", "run.dir=runs/mine")
    warmly("config", "suggested.yaml")
