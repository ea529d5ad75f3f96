"""The configs that come along: `configs/` in the repository, a copy of it where partialfc is installed."""

from pathlib import Path

from partialfc.errors import ConfigError

FOLDER = Path(__file__).parent / "examples"


def example_names() -> list[str]:
    """What `example_text` knows, in order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def example_text(name: str) -> str:
    """A config that comes along as its file has it, comments included; a ConfigError names all there are."""
    if name not in example_names():
        raise ConfigError(f"no config {name!r} comes along; there are {', '.join(example_names())}")
    return (FOLDER / f"{name}.yaml").read_text()
