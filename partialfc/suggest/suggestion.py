"""All rules together: a value for each key that matters, with the reason for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partialfc.config.plan import planned_device
from partialfc.plan import Setting
from partialfc.suggest import head, learning, loading, network
from partialfc.suggest.choice import Choice
from partialfc.suggest.given import Given
from partialfc.suggest.look import Look
from partialfc.suggest.machine import Machine

FOLDS = 10  # of a verification: its threshold is found on nine of them, its accuracy measured on the tenth


@dataclass(frozen=True, slots=True)
class Files:
    """Paths as they stand in the config. leave_out: the keys of held-out images. sets: pair files by name;
    pairs: how many there are in the only one, None for files that were there. The other two say why.
    """

    images: Sequence[str]
    run_dir: str
    class_depth: int = 1
    leave_out: str | None = None
    leave_out_why: str = ""
    sets: Mapping[str, str] = field(default_factory=dict)
    pairs: int | None = None
    sets_why: str = ""


def suggest(
    look: Look, machine: Machine, files: Files, *, classes: int, images: int, seed: int, given: Given
) -> dict[str, Choice]:
    """By key, such as "data.image_size", in the order of the config.

    classes, images: those that are trained on, which may be fewer than `look` has. given: what is set
    already.
    """
    chosen = network.network_for(look.side, images, accelerator=machine.has_accelerator)
    found = {
        "run.dir": Choice(
            files.run_dir, "Checkpoints, logs and figures; the same command goes on from there."
        ),
        "run.seed": Choice(seed, "Of everything random: another seed says how far figures vary by chance."),
        **_data(look, machine, files, chosen),
    }
    name = given.text("backbone.name")
    backbone = network.backbone(chosen)
    if name not in (None, chosen.name):
        backbone.pop("options", None)
    found |= _section("backbone", backbone)
    batch = given.whole("train.batch_size") or learning.batch_size(
        chosen.batch,
        images=images,
        ranks=machine.ranks,
        memory=machine.memory if machine.has_accelerator else None,
    )
    found |= _section("head", _head(look, machine, given, chosen, classes=classes, batch=batch))
    sgd = given.text("optimizer.name") or "sgd"
    found |= _section("optimizer", learning.optimizer(sgd, batch, chosen.lr, chosen.lr_batch))
    unit, length = _length(given, images)
    found |= _section("schedule", learning.schedule(chosen.schedule))
    found |= _section("train", _train(machine, batch, unit, length))
    period = learning.period(unit=unit, length=length, steps_an_epoch=images / batch)
    found |= {
        f"checkpoint.{key}": Choice(value, "A run that was stopped loses no more than this.")
        for key, value in period.items()
    }
    found |= _verification(files, period)
    return found


def sections(choices: Mapping[str, Choice]) -> dict[str, Any]:
    """The values as a config: sections with keys."""
    mapping: dict[str, Any] = {}
    for key, choice in choices.items():
        section, _, rest = key.partition(".")
        mapping.setdefault(section, {})[rest] = choice.value
    return mapping


def _section(name: str, keys: Mapping[str, Choice]) -> dict[str, Choice]:
    return {f"{name}.{key}": choice for key, choice in keys.items()}


def _data(look: Look, machine: Machine, files: Files, chosen: network.Network) -> dict[str, Choice]:
    keys = {
        "train": Choice(
            files.images[0] if len(files.images) == 1 else list(files.images),
            "The images that were looked at.",
        )
    }
    if files.class_depth != 1:
        keys["class_depth"] = Choice(files.class_depth, "Levels from there to the folders that are classes.")
    if files.leave_out is not None:
        keys["leave_out"] = Choice(files.leave_out, files.leave_out_why)
    keys |= {
        "image_size": network.input_size(look.side, (look.sides[0], look.sides[2]), chosen),
        "channels": network.channels(grey=look.grey, some_grey=look.some_grey),
        "sampler": loading.sampler(),
        "workers": loading.workers(
            look.side, cores=machine.cores, ranks=machine.here, accelerator=machine.has_accelerator
        ),
        "augment": loading.augment(look.side, grey=look.grey),
    }
    return _section("data", keys)


def _head(
    look: Look, machine: Machine, given: Given, chosen: network.Network, *, classes: int, batch: int
) -> dict[str, Choice]:
    setting = Setting(
        classes=classes,
        embedding=given.whole("backbone.embedding_size") or chosen.embedding,
        gpus=machine.ranks,
        batch=max(1, batch // machine.ranks),
        device=planned_device(machine.kind),
    )
    return {"margin": head.margin(classes, look.per_class[1])} | head.storage(
        setting, machine.rank_memory, bfloat16=machine.has_accelerator and machine.bfloat16
    )


def _length(given: Given, images: int) -> tuple[str, float]:
    """steps or epochs, and how many."""
    if steps := given.whole("train.steps"):
        return "steps", steps
    return "epochs", given.number("train.epochs") or learning.epochs(images)


def _train(machine: Machine, batch: int, unit: str, length: float) -> dict[str, Choice]:
    amp = "float16" if machine.float16 and not machine.bfloat16 else "auto"
    return {
        "batch_size": Choice(
            batch,
            f"Images of a step, over all ranks together ({machine.ranks} here). Larger needs more memory, "
            "and a learning rate that is larger by as much.",
        ),
        unit: Choice(
            length if unit == "steps" else float(length),
            "Length of the run. Where the accuracy on held-out classes still rises at the end, double it.",
        ),
        "amp": Choice(
            amp, "auto: the backbone computes in bfloat16 where this device has instructions for it."
        ),
        "log_every": Choice(20, "Steps from a line to the next."),
    }


def _verification(files: Files, period: Mapping[str, Any]) -> dict[str, Choice]:
    if not files.sets:
        return {"verification.sets": Choice({}, files.sets_why)}
    folds = {}
    if files.pairs is not None and files.pairs < FOLDS * FOLDS:
        fewer = max(2, files.pairs // FOLDS)
        folds = {"verification.folds": Choice(fewer, "Fewer than the usual ten: there are few pairs.")}
    return {
        "verification.sets": Choice(dict(files.sets), files.sets_why),
        **folds,
        "verification.at_start": Choice(True, "Of the untrained network too, to see what training adds."),
        **{
            f"verification.{key}": Choice(value, "And once at the end. The best checkpoint is kept.")
            for key, value in period.items()
        },
    }
