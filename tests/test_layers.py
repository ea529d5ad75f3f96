"""The dependency direction that keeps parts usable alone: read from the imports, nothing is run."""

import ast
from functools import cache
from graphlib import TopologicalSorter

import pytest

from tests.paths import PACKAGE

# What each room may import besides itself. A room stands below every room that may import it.
LEAVES = {"errors", "files", "unpickling"}
ROOMS = {
    "distributed": set(),
    "backbones": set(),
    "data": set(),
    "head": {"distributed"},
    "losses": {"distributed", "head"},
    "pool": {"distributed", "head"},
    "plan": {"head"},
    "checkpoint": {"distributed"},
    "evaluation": {"data", "distributed"},
    "metrics": {"distributed", "evaluation", "head"},
    "report": {"data", "evaluation", "metrics", "plan"},
    "plot": {"backbones", "data", "evaluation", "head", "metrics", "report"},
    "deploy": {
        "backbones",
        "checkpoint",
        "data",
        "distributed",
        "evaluation",
        "head",
        "occlusion",
        "serving",
        "uncertainty",
    },
    "serving": {"data", "distributed", "evaluation", "trained"},  # by that door it opens runs, with torch
    "distillation": {"backbones", "deploy", "distributed", "head", "losses"},
    "uncertainty": {"backbones", "distributed", "head", "losses"},
    "occlusion": {"backbones", "distributed", "head", "losses"},
    "finetune": {"checkpoint", "deploy", "distributed", "head"},
    "cleaning": {"data", "report"},
    "config": {"backbones", "plan"},
}
ROOMS["training"] = set(ROOMS) - {"cleaning", "report", "plot", "deploy", "plan", "serving"}
ROOMS["doctor"] = {*ROOMS["training"], "plan", "training"}
ROOMS["suggest"] = {"config", "data", "distributed", "doctor", "plan", "training"}
ROOMS["cli"] = {*ROOMS, "doctor", "training"} - {"cli"}

# Rooms within a room, likewise.
INNER = {
    "data/sources": {"data/images", "data/parallel"},  # packing looks at the pixels
    "data/images": set(),
    "data/parallel": {"data/images"},
    "data/loading": {"data/sources", "data/images", "data/parallel"},
    "data/check": {"data/sources", "data/images", "data/parallel"},
    "data/split": {"data/sources"},
    "data/pairs": {"data/sources", "data/images"},
    "data/benchmarks": {"data/sources", "data/images", "data/align"},
    "data/align": {"data/sources", "data/images", "data/parallel"},
    "data/glyphs": {"data/sources", "data/images", "data/pairs"},
    "head/margins": {"head/arguments"},
    "head/kernels": set(),
    "evaluation/scores": {"evaluation/bootstrap"},
    "serving/service": {"serving/card", "serving/gallery", "serving/model", "serving/rows"},
}
# Of the head, what a sharded loss needs, and the head itself whose centres a centre loss may take.
LOSSES_OF_HEAD = {
    "head/agreement",
    "head/arguments",
    "head/attached",
    "head/kernels/compiled",
    "head/partial_fc",
    "head/shard",
    "head/surroundings",
    "head/whose",
}
PURE = {
    "checkpoint/kept",
    "checkpoint/lineage",
    "data/check/equal",
    "data/check/hamming",
    "data/loading/sampler",
    "data/sources/recordio",
    "data/split/hold_out",
    "finetune/freezing",
    "finetune/groups",
    "finetune/lora",
    "finetune/names",
    "head/kernels/decay",
    "head/margins/base",
    "head/margins/combined",
    "head/sampling",
    "head/shard",
    "losses/geometry",
    "occlusion/covers",
    "occlusion/masks",
    "serving/card",
    "training/schedule",
}
DOORS = {"__init__", "__main__", "trained"}  # what a user imports: they may reach anywhere
LARGEST_FILE = 320
# Who names CUDA, and why it cannot be any accelerator.
PLANNED = "a plan calls every accelerator a GPU, by this name"
DALI = "DALI's is the GPU's alone"
NAMES_CUDA = {
    "config/plan": PLANNED,
    "data/loading/dali": DALI,
    "data/loading/dali_graph": DALI,
    "data/loading/dali_package": DALI,
    "distributed/device": "what a GPU multiplies fast, CUDA knows better than torch's autocast",
    "doctor/rank": DALI,
    "plan/__init__": PLANNED,
    "plan/memory": PLANNED,
    "plan/setting": PLANNED,
    "plan/speed": PLANNED,
    "report/plan_picture": PLANNED,
    "training/builders/data": DALI,
    "training/determinism": "the variable is cuBLAS's",
}


@cache
def modules(below: str = "") -> list[str]:
    paths = (PACKAGE / below).rglob("*.py")
    return sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in paths)


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


@cache
def imports(module: str) -> set[str]:
    """Every module that a file imports, functions' own imports included; not what only types name."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(module: str) -> set[str]:
    """The files of the package that a file imports, as paths without suffix."""
    named = {name.replace(".", "/").removeprefix("partialfc/") for name in imports(module)}
    files = set(modules())
    return {name for name in named if name in files} | {
        f"{name}/__init__" for name in named if f"{name}/__init__" in files
    }


def room(module: str) -> str:
    return module.split("/")[0]


def upwards(module: str) -> set[str]:
    """The rooms that a file imports from and may not."""
    wanted = {room(name) for name in ours(module)}
    if room(module) in LEAVES:
        return wanted - {"errors"}
    return wanted - {room(module), "__init__"} - ROOMS[room(module)] - LEAVES


def test_no_arrow_points_upwards():
    wrong = {module: upwards(module) for module in sorted(set(modules()) - DOORS)}
    assert not {module: rooms for module, rooms in wrong.items() if rooms}


@pytest.mark.parametrize("inner", sorted(INNER))
def test_no_arrow_points_upwards_within_a_room(inner):
    for module in modules(inner):
        near = {name for name in ours(module) if room(name) == room(inner)}
        allowed = (inner, *INNER[inner])
        assert not {name for name in near if not name.startswith(allowed)} - {f"{room(inner)}/__init__"}


def test_losses_beside_the_head_use_of_it_what_is_no_softmax():
    used = {name for module in modules("losses") for name in ours(module) if room(name) == "head"}
    assert used - {"head/__init__"} == LOSSES_OF_HEAD


def test_there_is_no_circle():
    TopologicalSorter({module: ours(module) - DOORS for module in modules()}).prepare()
    TopologicalSorter(ROOMS).prepare()


def test_few_files_stand_at_the_top():
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "files.py",
        "trained.py",
        "unpickling.py",
    }


@pytest.mark.parametrize("folder", sorted({str(path.parent) for path in PACKAGE.rglob("*/*.py")}))
def test_a_room_says_what_lives_there_and_what_it_may_import(folder):
    with open(f"{folder}/__init__.py") as file:
        text = ast.get_docstring(ast.parse(file.read()))
    assert text
    assert "ay import" in text


def test_no_file_is_long():
    lines = {module: len((PACKAGE / f"{module}.py").read_text().splitlines()) for module in modules()}
    assert not {module: count for module, count in lines.items() if count > LARGEST_FILE}


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_neither_communicate_nor_configure(module):
    assert not {name for name in imports(module) if "distributed" in name or "config" in name}


def collectives(module: str) -> set[str]:
    """Those that a file calls: torch.distributed may be named for a type or a group."""
    calls = {ast.unparse(node.func) for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)}
    harmless = {"dist.is_initialized", "dist.get_world_size"}
    return {name for name in calls if name.startswith("dist.")} - harmless


def test_collectives_live_in_one_file():
    found = {module: collectives(module) for module in modules() if room(module) != "distributed"}
    assert not {module: calls for module, calls in found.items() if calls}


def names_cuda(module: str) -> bool:
    """Whether a file speaks of CUDA in its code: `torch.cuda`, `tensor.cuda()`, "cuda"."""
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("cuda", "is_cuda"))
        or (isinstance(node, ast.Constant) and node.value == "cuda")
        for node in ast.walk(tree_of(module))
    )


def test_all_else_takes_any_accelerator():
    assert {module for module in modules() if names_cuda(module)} == NAMES_CUDA.keys()
