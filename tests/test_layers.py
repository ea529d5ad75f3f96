"""The dependency direction that keeps parts usable alone: read from the imports, nothing is run."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "partialfc"

PURE = {"head/shard", "head/sampling", "head/margins", "head/decay", "schedule", "data/sampler"}
DOCTOR = {"doctor/examine", "doctor/rank", "doctor/training"}
KNOW_CONFIG = {"train", "objects", "trained"} | DOCTOR  # and the cli and config modules themselves


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))


def imports(module: str) -> set[str]:
    """Every module that a file imports, functions' own imports included."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(module: str) -> set[str]:
    return {
        name.removeprefix("partialfc.").replace(".", "/")
        for name in imports(module)
        if name.startswith("partialfc.")
    }


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_neither_communicate_nor_configure(module):
    assert not {name for name in imports(module) if "distributed" in name or "config" in name}


@pytest.mark.parametrize("module", modules())
def test_only_the_outside_knows_the_config(module):
    if module in KNOW_CONFIG or module.startswith(("cli", "config")):
        return
    assert not {name for name in ours(module) if name.startswith("config")}


@pytest.mark.parametrize("module", modules())
def test_nothing_but_the_cli_imports_train(module):
    assert module.startswith("cli") or "train" not in ours(module)


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith("head/")])
def test_the_head_stands_alone(module):
    """The head may use its own files, the collectives and the errors: nothing of data or training."""
    allowed = ("head", "distributed", "errors")
    assert all(name.startswith(allowed) for name in ours(module))


@pytest.mark.parametrize("module", [m for m in modules() if m.startswith("head/")])
def test_the_heads_collectives_live_in_one_file(module):
    """torch.distributed may be named for a type; none of its functions is called."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    harmless = {"dist.is_initialized", "dist.get_world_size"}  # questions about the group, no communication
    assert not {name for name in calls if name.startswith("dist.")} - harmless
