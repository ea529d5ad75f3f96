"""A plan from a config, from the options of `partialfc plan`, or from both."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from partialfc.config.head import HeadConfig
from partialfc.config.load import load_config
from partialfc.config.losses import LossConfig
from partialfc.config.margin import has_bias, has_bound, keeps_centre_norms, reweights_negatives
from partialfc.config.objective import has_head, rows_of_image
from partialfc.config.plan_pool import planned_pool
from partialfc.config.root import Config
from partialfc.config.staged import taken
from partialfc.errors import ConfigError
from partialfc.plan import Plan, PoolPlan, PoolSetting, Setting, Speed, plan, plan_pool
from partialfc.plan.options import read_quantities

REQUIRED = {"classes": "--classes 10_000_000", "embedding": "--embedding 512", "batch": "--batch 128"}
RATES = ("gemm_rate", "memory_bandwidth", "bandwidth")


def plan_from_options(
    file: Path | None,
    overrides: Sequence[str],
    *,
    quantities: Mapping[str, str | None],
    choices: Mapping[str, Any],
    problems: Sequence[str] = (),
) -> Plan | PoolPlan:
    """The plan for a config file with overrides, or for options alone; an option that is None was not given.

    quantities: the text of each option in `plan.options.QUANTITIES`. choices: the other fields of a Setting.
    Raises one ConfigError: the `problems` found before, and a line for everything else that is wrong.
    """
    number, unreadable = read_quantities(quantities)
    problems = [*problems, *unreadable]
    if number["memory"] is None:
        problems.append("--memory is missing; give that of one GPU, such as --memory 80GB")
    given = {name: number[name] for name in ("classes", "embedding", "gpus", "batch")} | dict(choices)
    try:
        config = None if file is None else load_config(file, overrides)
        if config is not None and (why := _why_no_plan(config)):
            problems = unreadable  # what else is missing would not help
            raise ConfigError(why)
        pool = config is not None and config.head.name == "pool"
        setting = _pool_of(config, given) if config and pool else planned_setting(config, **given)
    except ConfigError as error:
        raise ConfigError("\n".join([*problems, str(error)])) from error
    if problems:
        raise ConfigError("\n".join(problems))
    rates = {name: number[name] for name in RATES}
    speed = Speed.of(setting, gpus_per_node=number["gpus_per_node"], **rates)
    room = {"memory": number["memory"], "reserve": number["reserve"] or 0, "speed": speed}
    return plan_pool(setting, **room) if isinstance(setting, PoolSetting) else plan(setting, **room)


def _why_no_plan(config: Config) -> str | None:
    """Why there is nothing to plan; None: there is."""
    if has_head(config.objective):
        return None
    alone = " with objective.alone: true" if config.objective.name == "distill" else ""
    return (
        f"a plan is of the head, and objective.name: {config.objective.name}{alone} has none; "
        "partialfc doctor measures the backbone"
    )


def planned_setting(config: Config | None, **given: Any) -> Setting:
    """The setting of the config's head, with the options that were given (not None) in place of what it says.

    Raises ConfigError, which names everything that a plan needs and that neither of them says.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    assert config is None or config.head.name != "pool", "planned_pool is for pools"
    if missing := list(_missing_options(config, chosen)):
        raise ConfigError("\n".join(missing))
    if config is None:
        return Setting(**{"gpus": 1, **chosen})
    gpus = _shared_by(config, chosen)
    if "sample_rate" in chosen:
        chosen["staged"] = False
    optimizer = chosen.get("optimizer", config.optimizer.name)
    return Setting(**{"gpus": 1, **_of_config(config, gpus, optimizer), **chosen})


def _pool_of(config: Config, given: Mapping[str, Any]) -> PoolSetting:
    chosen = {name: value for name, value in given.items() if value is not None}
    if missing := list(_missing_options(config, chosen)):
        raise ConfigError("\n".join(missing))
    gpus = _shared_by(config, chosen)
    return planned_pool(config, chosen, gpus=gpus, device=planned_device(config.train.device))


def _shared_by(config: Config, chosen: Mapping[str, Any]) -> int:
    """How many GPUs share the config's batch. Raises ConfigError where there is not a sample for each."""
    gpus: int = chosen.get("gpus", 1)
    if gpus > config.train.batch_size and "batch" not in chosen:
        raise ConfigError(
            f"gpus is {gpus:,}, but train.batch_size, which they share, is {config.train.batch_size:,}, and "
            "each needs a sample: give --batch, or fewer GPUs"
        )
    return gpus


def planned_device(kind: str) -> str:
    """What a plan calls a kind of device: every accelerator is planned as a GPU."""
    return "cpu" if kind == "cpu" else "cuda"


def _missing_options(config: Config | None, given: Collection[str]) -> Iterator[str]:
    """A line for each option that a plan needs and that neither the config nor the command line gives."""
    if config is None:
        for name, example in REQUIRED.items():
            if name not in given:
                yield f"--{name} is missing; give it, such as {example}"
    elif config.data.num_classes is None and "classes" not in given:
        yield (
            "--classes is missing (the config leaves data.num_classes to the data); give it, such as "
            f"{REQUIRED['classes']}"
        )


def _planned_loss(section: LossConfig) -> str:
    """What a plan calls a loss beside the head."""
    if section.name == "triplet":
        return f"triplet_{section.mining}"
    of_head = section.name == "center" and section.centres == "head"
    return "center_of_head" if of_head else section.name


def _target_numbers(head: HeadConfig) -> int:
    """How many numbers all ranks are told of each sample's own class, its cosine among them."""
    of_class = (head.class_margins, head.margins_by_size, head.class_weights)
    given = sum(each is not None for each in of_class)
    return 1 + keeps_centre_norms(head.margin) + has_bias(head.margin) + given


def _of_config(config: Config, gpus: int, optimizer: str) -> dict[str, Any]:
    """The fields of a Setting that the config gives, for `gpus` ranks and the optimizer of the plan.

    `train.batch_size` is shared by all ranks, and the largest share is what must fit; the head sees an image
    twice where the objective learns it masked too. What the config says
    for sgd alone is left out where the plan is for adamw.
    """
    head, same = config.head, config.data.images_per_identity
    rows = rows_of_image(config.objective)
    values = {
        "classes": config.data.num_classes,
        "embedding": config.backbone.embedding_size,
        "batch": rows * -(-config.train.batch_size // gpus),
        "accumulation": config.train.accumulation,
        "images_per_identity": None if same is None else rows * same,
        "losses": tuple(map(_planned_loss, config.losses)),
        "sample_rate": max(rate for rate in taken(config, "head.sample_rate") if rate is not None),
        "staged": any("head.sample_rate" in stage.changes for stage in config.stages),
        "sub_centers": head.sub_centers,
        "bias": has_bias(head.margin),
        "target_numbers": _target_numbers(head),
        "has_bound": has_bound(head.margin),
        "reweights_negatives": reweights_negatives(head.margin),
        "weight_dtype": head.weight_dtype,
        "compute_dtype": head.compute_dtype,
        "optimizer": optimizer,
        "gather_dtype": head.gather_dtype,
        "compile": head.compile,
        "device": planned_device(config.train.device),
    }
    if optimizer == "sgd":
        without_momentum = config.optimizer.name == "sgd" and config.optimizer.momentum == 0.0
        values["unsampled"] = head.unsampled
        values["momentum_dtype"] = "none" if without_momentum else head.momentum_dtype
    return values
