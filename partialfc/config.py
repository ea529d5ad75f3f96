"""The strict configuration of a run: a YAML file, then `section.key=value` overrides.

Numbers and booleans follow YAML 1.2, so 1e-4 is a number and `no` is text; 10_000_000 is a number too.
Values are kept as they were given; what follows from them is a property.
"""

import functools
import itertools
import math
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from partialfc.errors import ConfigError
from partialfc.schedule import Shape

KeyPath = tuple[str, ...]


def _check_path(value: object) -> object:
    if isinstance(value, str) and (not value or value.startswith("~")):
        raise ValueError("must be a path, not empty and without the '~' that only shells expand")
    return value


def _check_channels(value: object) -> object:
    if isinstance(value, bool | float):  # Literal compares by ==, and True == 1.0 == 1
        raise ValueError("must be 1 or 3")
    return value


def _check_betas(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be a list of two numbers")
    return value


ConfigPath = Annotated[Path, Field(strict=False), BeforeValidator(_check_path)]
Dtype = Literal["float32", "float64", "bfloat16"]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _named(default: str) -> Discriminator:
    """Which variant of a section a mapping describes: the one it names, else the default."""

    def name(value: Any) -> Any:
        return value.get("name", default) if isinstance(value, dict) else getattr(value, "name", None)

    return Discriminator(name)


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class RunConfig(_Section):
    """The run itself."""

    dir: ConfigPath = Field(description="Folder for checkpoints, logs and the resolved config.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of everything random: weights, sampling, data order."
    )


class AugmentConfig(_Section):
    """Random changes to each training image; all off by default."""

    flip: bool = Field(False, description="Mirror left to right with probability one half.")
    shift: float = Field(0.0, ge=0, le=1, description="Largest shift, as a fraction of the image's size.")
    scale: float = Field(0.0, ge=0, le=0.9, description="Largest relative change of size: 0.1 is 0.9 to 1.1.")
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees, either way.")
    fill: int | None = Field(
        None, ge=0, le=255, description="Value of uncovered pixels; null: the mean of the image's edges."
    )


class DataConfig(_Section):
    """The training images."""

    train: ConfigPath = Field(description="A RecordIO file (.rec), or a folder with a folder per class.")
    num_classes: int | None = Field(
        None,
        ge=1,
        description="Number of classes C, at least the data's; null: the data's.",
    )
    image_size: int = Field(112, ge=1, description="Height and width of the backbone's input, in pixels.")
    channels: Annotated[Literal[1, 3], BeforeValidator(_check_channels)] = Field(
        3, description="3 for RGB, 1 for grey."
    )
    workers: int = Field(
        0, ge=0, description="Loader processes per rank; 0 loads in the training process itself."
    )
    augment: AugmentConfig = Field(AugmentConfig(), description="Random changes to each training image.")
    timeout_seconds: float = Field(
        120.0, gt=0, description="Seconds to wait for a batch before the loader is called stuck."
    )


class BackboneConfig(_Section):
    """The network that turns images into embeddings."""

    name: str = Field(
        pattern=r"^([\w-]+|[\w.]+:[\w.]+)$",
        description="A backbone that partialfc knows, or 'module:callable' for your own.",
    )
    embedding_size: int = Field(512, ge=1, description="Size D of the embedding.")
    options: dict[str, JsonValue] = Field({}, description="Further keyword arguments of the backbone.")
    compile: bool = Field(False, description="Run the backbone through torch.compile.")
    channels_last: bool = Field(False, description="Keep images in channels-last memory order.")
    weights: ConfigPath | None = Field(None, description="State dict that the backbone starts from.")


class _MarginConfig(_Section):
    name: str
    scale: float = Field(64.0, gt=0, description="Factor s of the cosine: logits lie within -s..s.")
    margin_gradient: Literal["exact", "straight_through"] = Field(
        "exact",
        description="exact: the margin's true derivative; straight_through: the plain logit's, as published.",
    )


class _AngularConfig(_MarginConfig):
    beyond_pi: Literal["hard", "easy"] = Field(
        "hard",
        description="Where the angle with its margin passes pi. hard: continue linearly; easy: no margin.",
    )


class ArcFaceConfig(_AngularConfig):
    """cos(theta + margin), Deng et al. 2019."""

    name: Literal["arcface"] = Field("arcface", description="Which margin.")
    margin: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")


class CosFaceConfig(_MarginConfig):
    """cos(theta) - margin, Wang et al. 2018."""

    name: Literal["cosface"] = Field(description="Which margin.")
    margin: float = Field(0.35, ge=0, lt=2, description="Subtracted from the target's cosine.")


class NormalizedSoftmaxConfig(_MarginConfig):
    """cos(theta): no margin, Wang et al. 2017."""

    name: Literal["normalized_softmax"] = Field(description="Which margin.")


class CombinedConfig(_AngularConfig):
    """cos(m1·theta + m2) - m3, Deng et al. 2019."""

    name: Literal["combined"] = Field(description="Which margin.")
    m1: float = Field(1.0, ge=1, description="Factor of the target's angle.")
    m2: float = Field(0.5, ge=0, lt=math.pi, description="Angle added to the target's, in radians.")
    m3: float = Field(0.0, ge=0, lt=2, description="Subtracted from the target's cosine.")


MarginConfig = Annotated[
    Annotated[ArcFaceConfig, Tag("arcface")]
    | Annotated[CosFaceConfig, Tag("cosface")]
    | Annotated[NormalizedSoftmaxConfig, Tag("normalized_softmax")]
    | Annotated[CombinedConfig, Tag("combined")],
    _named("arcface"),
]


class HeadConfig(_Section):
    """The sharded classifier: one centre per class."""

    margin: MarginConfig = Field(ArcFaceConfig(), description="The margin of the target's logit.")
    sample_rate: float = Field(
        1.0, gt=0, le=1, description="Fraction of the centres that take part in a step; positives always do."
    )
    weight_dtype: Dtype = Field("float32", description="How the centres are stored.")
    compute_dtype: Dtype = Field("float32", description="What the head's matrix products run in.")
    unsampled: Literal["dense", "frozen"] | None = Field(
        None,
        description="Centres that sit a step out. dense: move as in plain SGD, by momentum and weight decay; "
        "frozen: stay; null: dense with sgd, frozen with adamw, which knows no other way.",
    )


class _OptimizerConfig(_Section):
    name: str
    lr: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay.")
    head_lr: float | None = Field(None, gt=0, description="Peak learning rate of the centres; null: lr.")
    head_weight_decay: float | None = Field(
        None, ge=0, description="Weight decay of the centres; null: weight_decay."
    )

    @property
    def effective_head_lr(self) -> float:
        return self.lr if self.head_lr is None else self.head_lr

    @property
    def effective_head_weight_decay(self) -> float:
        return self.weight_decay if self.head_weight_decay is None else self.head_weight_decay


class SGDConfig(_OptimizerConfig):
    """SGD with momentum; weight decay is added to the gradient."""

    name: Literal["sgd"] = Field("sgd", description="Which optimizer.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum.")


class AdamWConfig(_OptimizerConfig):
    """AdamW; weight decay is decoupled from the gradient."""

    name: Literal["adamw"] = Field(description="Which optimizer.")
    betas: Annotated[tuple[Beta, Beta], Field(strict=False), BeforeValidator(_check_betas)] = Field(
        (0.9, 0.999), description="Decay of the running averages of the gradient and of its square."
    )
    eps: float = Field(1e-8, gt=0, description="Added to the denominator.")


OptimizerConfig = Annotated[
    Annotated[SGDConfig, Tag("sgd")] | Annotated[AdamWConfig, Tag("adamw")], _named("sgd")
]


class ScheduleConfig(_Section):
    """The learning rate over the run, as a fraction of its peak."""

    name: Shape = Field("polynomial", description="The shape of the decay after the warm-up.")
    warmup_steps: int | None = Field(None, ge=0, description="Length of the linear warm-up in steps.")
    warmup_epochs: float | None = Field(
        None, ge=0, description="Length of the warm-up in epochs, in place of warmup_steps; neither: none."
    )
    power: float = Field(2.0, gt=0, description="Power of the polynomial decay.")
    final_lr_ratio: float = Field(0.0, ge=0, le=1, description="Where the decay ends, over the peak.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps is not None and self.warmup_epochs is not None:
            raise ValueError(
                "give at most one of warmup_steps and warmup_epochs, "
                f"got {self.warmup_steps} and {self.warmup_epochs}"
            )
        if self.name != "polynomial" and self.power != 2.0:
            raise ValueError(f"power is {self.power}, but only name: polynomial uses it; name is {self.name}")
        if self.name == "constant" and self.final_lr_ratio != 0.0:
            raise ValueError(f"final_lr_ratio is {self.final_lr_ratio}, but name: constant does not decay")
        return self


class TrainConfig(_Section):
    """The training loop."""

    batch_size: int = Field(ge=1, description="Samples per micro-batch over all ranks together.")
    epochs: float | None = Field(None, gt=0, description="Length in passes over the data; or give steps.")
    steps: int | None = Field(None, ge=1, description="Length in optimizer steps; or give epochs.")
    accumulation: int = Field(1, ge=1, description="Micro-batches per optimizer step.")
    clip_norm: float | None = Field(
        5.0, gt=0, description="Largest norm of the backbone's gradient; null does not clip."
    )
    amp: Literal["bfloat16"] | None = Field(
        None, description="Autocast the backbone to this type; null: no autocast."
    )
    threads: int | None = Field(
        None, ge=1, description="Torch CPU threads per process; null: torch's own choice."
    )
    log_every: int = Field(20, ge=1, description="Optimizer steps between log lines.")
    max_nonfinite_steps: int = Field(
        10, ge=1, description="Steps in a row with a non-finite loss or gradient, skipped, that end the run."
    )
    deterministic: bool = Field(False, description="Let torch use deterministic algorithms only.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one.")
    timeout_seconds: float = Field(
        600.0, gt=0, description="Seconds that a collective waits for the slowest rank before it fails."
    )
    tensorboard: bool = Field(False, description="Write TensorBoard event files into run.dir.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            got = "neither" if self.epochs is None else f"epochs {self.epochs} and steps {self.steps}"
            raise ValueError(f"give exactly one of epochs and steps, null for the other, got {got}")
        return self

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step over all ranks."""
        return self.batch_size * self.accumulation


class _Periodic(_Section):
    every_steps: int | None = Field(None, ge=1, description="Optimizer steps from one to the next.")
    every_epochs: float | None = Field(
        None,
        gt=0,
        description="Epochs from one to the next, in place of every_steps; neither: after each epoch.",
    )

    @model_validator(mode="after")
    def _check_period(self) -> Self:
        if self.every_steps is not None and self.every_epochs is not None:
            raise ValueError(
                "give at most one of every_steps and every_epochs, "
                f"got {self.every_steps} and {self.every_epochs}"
            )
        return self


class CheckpointConfig(_Periodic):
    """When checkpoints are written, besides one at the end, and which are kept."""

    keep_last: int = Field(2, ge=1, description="How many of the newest checkpoints to keep.")
    keep_best: bool = Field(True, description="Keep the one that verifies best as well.")
    resume: str = Field(
        "auto",
        min_length=1,
        description="auto: from run.dir's latest checkpoint if there is one; never: from scratch; "
        "else the path of a checkpoint.",
    )


class VerificationConfig(_Periodic):
    """Pair verification during training, besides once at the end."""

    sets: dict[str, ConfigPath] = Field({}, description="Pair files (.bin) by the name to report them under.")
    folds: int = Field(10, ge=2, description="Folds of the cross-validated threshold.")
    flip: bool = Field(False, description="Add the embedding of the mirrored image.")
    batch_size: int = Field(256, ge=1, description="Images per forward pass on a rank.")
    best: str | None = Field(
        None, description="The set whose score decides which checkpoint is best; null: the first."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.best is not None and self.best not in self.sets:
            raise ValueError(f"best is {self.best!r}, but sets has {', '.join(self.sets) or 'no entry'}")
        return self

    @property
    def best_set(self) -> str | None:
        """The name of the set that decides which checkpoint is best; None without sets."""
        return next(iter(self.sets), None) if self.best is None else self.best


class Config(_Section):
    """Everything that decides a run."""

    run: RunConfig = Field(description="The run itself.")
    data: DataConfig = Field(description="The training images.")
    backbone: BackboneConfig = Field(description="The network that turns images into embeddings.")
    head: HeadConfig = Field(HeadConfig(), description="The sharded classifier.")
    optimizer: OptimizerConfig = Field(description="How the weights move.")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="The learning rate over the run.")
    train: TrainConfig = Field(description="The training loop.")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="When to save, and what to keep.")
    verification: VerificationConfig = Field(
        VerificationConfig(), description="Pair verification during training."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer.name == "adamw" and self.head.unsampled == "dense":
            raise ValueError(
                "head.unsampled: must be frozen with optimizer.name: adamw, got 'dense'; "
                "leave it out, or take optimizer.name: sgd"
            )
        for unit in ("steps", "epochs"):
            warmup, length = getattr(self.schedule, f"warmup_{unit}"), getattr(self.train, unit)
            if warmup is not None and length is not None and warmup >= length:
                raise ValueError(
                    f"schedule.warmup_{unit}: must be less than train.{unit}, {length}, got {warmup}"
                )
        return self

    @property
    def unsampled(self) -> Literal["dense", "frozen"]:
        """head.unsampled, with null resolved by the optimizer."""
        return self.head.unsampled or ("frozen" if self.optimizer.name == "adamw" else "dense")


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config of a YAML file, or of nothing but overrides; ConfigError names each thing that is wrong."""
    if path is None:
        return parse_config({}, overrides, "command line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    content = _parse_yaml(text, str(path))
    return parse_config({} if content is None else content, overrides, str(path))


def parse_config(mapping: Mapping[str, Any], overrides: Sequence[str], origin: str) -> Config:
    """The config of a mapping with overrides on top; errors call the mapping `origin`."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{origin}: must hold sections, such as 'run:', got {_shown(mapping)}")
    merged = dict(mapping)
    parsed = [_Override.parse(text) for text in overrides]
    for override in parsed:
        merged = override.apply(merged, origin)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        problems = [_Problem.of(details) for details in error.errors()]
        lines = [problem.line(_source(problem.path, parsed, origin)) for problem in problems]
        raise ConfigError("\n".join(lines)) from error


def dump_config(config: Config) -> str:
    """YAML with every value, defaults included; load_config makes an equal Config of it."""
    content = config.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def config_schema() -> dict[str, Any]:
    """The JSON schema of a config file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()


# Overrides


class _Override(NamedTuple):
    text: str
    path: KeyPath
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        key, equals, value = text.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals:
            raise ConfigError(f"override {_shown(text)}: has no '='; write section.key=value")
        if not all(path):
            raise ConfigError(f"override {_shown(text)}: {key!r} is not a key; write section.key=value")
        if not value.strip():
            raise ConfigError(f"override {_shown(text)}: has no value; write {key}=null for none")
        return cls(text, path, _parse_yaml(value, f"override {_shown(text)}"))

    def apply(self, mapping: dict[str, Any], origin: str) -> dict[str, Any]:
        """A copy of the mapping with the value at the path; what is not on the path is shared."""
        copied = dict(mapping)
        node = copied
        for depth, part in enumerate(self.path[:-1], start=1):
            child = node.get(part, {})
            if not isinstance(child, dict):
                where = ".".join(self.path[:depth])
                problem = f"{where} is not a section, it is {_shown(child)} in {origin}"
                raise ConfigError(f"override {_shown(self.text)}: {problem}")
            node[part] = node = dict(child)
        node[self.path[-1]] = self.value
        return copied


def _source(path: KeyPath, overrides: Sequence[_Override], origin: str) -> str:
    """Who gave the value at the path: the last override at or above it, else the file, else both."""
    for override in reversed(overrides):
        if path[: len(override.path)] == override.path:
            return f"override {_shown(override.text)}"
    below = [_shown(override.text) for override in overrides if path and override.path[: len(path)] == path]
    return f"{origin} with override {', '.join(below)}" if below else origin


# Messages


@functools.cache
def _known() -> dict[KeyPath, list[tuple[type[BaseModel], FieldInfo]]]:
    """Every key path of the config, with the models that define it: one per variant of its section."""
    known: dict[KeyPath, list[tuple[type[BaseModel], FieldInfo]]] = {}

    def visit(model: type[BaseModel], prefix: KeyPath) -> None:
        for name, field in model.model_fields.items():
            known.setdefault((*prefix, name), []).append((model, field))
            for inner in _models(field.annotation):
                visit(inner, (*prefix, name))

    visit(Config, ())
    return known


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _variants(path: KeyPath) -> list[str]:
    """The names that choose between the variants of the section at the path; none for a plain section."""
    models = [model for _, field in _known().get(path, ()) for model in _models(field.annotation)]
    return [_variant_name(model) for model in models] if len(models) > 1 else []


def _variant_name(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["name"].annotation)[0])


class _Problem(NamedTuple):
    """What is wrong, and where; `path` is as the user writes it."""

    path: KeyPath
    text: str

    def line(self, source: str) -> str:
        return f"{source}: {'.'.join(self.path)}{': ' if self.path else ''}{self.text}"

    @classmethod
    def of(cls, error: ErrorDetails) -> Self:
        location, kind, value = error["loc"], error["type"], error["input"]
        path, variant = _key_path(location)
        if kind == "missing":
            return cls(path, _missing(path))
        if kind in ("extra_forbidden", "invalid_key"):
            return cls(path, _unknown(path, variant))
        if kind.startswith("union_tag") and isinstance(value, dict):
            names = ", ".join(_variants(path))
            return cls((*path, "name"), f"must be one of {names}, got {_shown(value['name'])}")
        if kind == "value_error":
            text = str(error["ctx"]["error"])
            return cls(path, text if isinstance(value, dict | _Section) else f"{text}, got {_shown(value)}")
        if location[-1] == "[key]":
            return cls(path, f"a key must be text, got {_shown(value)}; put it in quotes")
        return cls(path, f"{_rule(kind, error['msg'], value)}, got {_shown(value)}")


def _key_path(location: tuple[int | str, ...]) -> tuple[KeyPath, str | None]:
    """pydantic's place of an error -> the keys that lead there, and the variant chosen on the way.

    pydantic puts the variant's name after a section that has variants, "[key]" after a bad key, and the type
    after each level of a free mapping such as backbone.options.
    """
    path: list[str] = []
    variant = None
    parts = iter(location)
    for part in parts:
        path.append(str(part))
        if _variants(tuple(path)):
            variant = next(parts, None)
        elif _is_free(tuple(path)):
            path += [str(key) for key in itertools.islice(parts, 0, None, 2)]
    return tuple(path), None if variant is None else str(variant)


def _is_free(path: KeyPath) -> bool:
    return any(get_origin(field.annotation) is dict for _, field in _known().get(path, ()))


def _missing(path: KeyPath) -> str:
    fields = _known().get(path)
    if not fields:
        return "is required"
    field = fields[0][1]
    needs = [
        name
        for model in itertools.islice(_models(field.annotation), 1)
        for name, inner in model.model_fields.items()
        if inner.is_required()
    ]
    return f"section is required, with {', '.join(needs)}" if needs else f"is required: {field.description}"


def _unknown(path: KeyPath, variant: str | None) -> str:
    """The key is unknown; say where it belongs, else the nearest known one, else what is known here."""
    known, section, key = _known(), path[:-1], path[-1]
    kind = "key" if section else "section"
    if path in known:
        owners = ", ".join(_variant_name(model) for model, _ in known[path])
        return f"name: {variant} has no such key; it belongs to name: {owners}"
    elsewhere = [".".join(other) for other in known if other[-1] == key and other != path]
    siblings = [
        other[-1]
        for other, fields in known.items()
        if other[:-1] == section and (variant is None or any(_belongs(model, variant) for model, _ in fields))
    ]
    if elsewhere:
        return f"unknown {kind}; did you mean {' or '.join(elsewhere)}?"
    if near := get_close_matches(key, siblings, n=1):
        return f"unknown {kind}; did you mean {'.'.join((*section, near[0]))}?"
    return f"unknown {kind}; {'.'.join(section) or 'the config'} has {', '.join(siblings)}"


def _belongs(model: type[BaseModel], variant: str) -> bool:
    return "name" in model.model_fields and _variant_name(model) == variant


def _rule(kind: str, message: str, value: object) -> str:
    if kind in ("model_type", "union_tag_not_found"):
        return "must be a section of keys and values"
    if kind == "int_type":
        written = f", written {int(value)}" if isinstance(value, float) and value.is_integer() else ""
        return f"must be a whole number{written}"
    if kind == "bool_type":
        return "must be true or false"
    if kind == "path_type":
        return "must be a path"
    return re.sub(r"^\w+ should", "must", message)


def _shown(value: object) -> str:
    """The value as a user would write it, cut where it is long."""
    for python, written in ((None, "null"), (True, "true"), (False, "false")):
        if value is python:
            return written
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 80
    return shown.repr(str(value) if isinstance(value, Path) else value)


# YAML

_DIGITS = r"[0-9](?:_?[0-9])*"
_EXPONENT = r"[eE][-+]?[0-9]+"
_SCALARS = {  # as in YAML 1.2, plus the underscores between digits that Python allows too
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9](?:_?[0-9])*|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    "float": (
        rf"[-+]?(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS})(?:{_EXPONENT})?|{_DIGITS}{_EXPONENT}"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
_KINDS = {"bool": "a boolean", "int": "a whole number of at most 64 bits", "float": "a number"}


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain types, and no key given twice."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the declaration is PyYAML's
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                earlier = first.setdefault((key.tag, key.value), key)
                if earlier is not key:
                    line = earlier.start_mark.line + 1
                    problem = f"key {key.value!r} is given twice, first in line {line}"
                    raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, KeyError) as error:  # what PyYAML lets through for text such as "!!float x"
            problem = f"{_shown(node.value)} is not {_KINDS[node.tag.rpartition(':')[2]]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def construct_whole(self, node: yaml.ScalarNode) -> int:
        value = int(str(self.construct_scalar(node)), base=0)
        if value.bit_length() > 64:
            raise ValueError("more than 64 bits")
        return value


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something other than text."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None  # PyYAML would fold these line breaks
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)
_Dumper.add_representer(str, _Dumper.represent_text)
for _tag, (_pattern, _first) in _SCALARS.items():
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{source}: {place}{problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}: line {line}: U+{error.character:04X} is not allowed in YAML") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested too deeply") from error
