"""The rules of `stages` that need the rest of the config: which settings they may change, and to what."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import combinations, pairwise
from typing import Any

from pydantic import ValidationError

from partialfc.config.margin import keeps_centre_norms
from partialfc.config.messages import Keys, Problem, explain
from partialfc.config.root import Config
from partialfc.config.shown import shown
from partialfc.config.stages import StageConfig

OF_CLASSES = ("margin", "m2", "m3")  # keys of a margin that the margins of classes take the place of
HEAD = ("sample_rate", "interclass_filter")


def settings(config: Config) -> dict[str, float | None]:
    """By key, the value of everything that a stage may change, as the config has it outside of stages."""
    names = [name for name in HEAD if _why_not(config, f"head.{name}") is None]
    found: dict[str, float | None] = {f"head.{name}": getattr(config.head, name) for name in names}
    found |= dict(_numbers("head.margin", config.head.margin.model_dump()))
    if _has_class_margins(config):
        found = {key: value for key, value in found.items() if key.rpartition(".")[2] not in OF_CLASSES}
    return found | {f"losses.{loss.name}.weight": loss.weight for loss in config.losses}


def _why_not(config: Config, key: str) -> str | None:
    """Why a stage of this config cannot change a key of HEAD; None: it can."""
    if key.startswith("head.") and config.head.name == "pool":
        return "is only for head.name: partial_fc, and this config has head.name: pool"
    if key == "head.interclass_filter" and keeps_centre_norms(config.head.margin):
        return (
            f"must be null with head.margin.name: {config.head.margin.name}, where the centres' norms count"
        )
    return None


def _has_class_margins(config: Config) -> bool:
    return config.head.class_margins is not None or config.head.margins_by_size is not None


def _numbers(path: str, section: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _numbers(f"{path}.{name}", value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}.{name}", value


def with_settings(config: Config, values: Mapping[str, float | None]) -> Config:
    """The config with other values for such keys, and without stages. Raises pydantic's ValidationError."""
    mapping = config.model_dump(exclude={"stages"})
    for key, value in values.items():
        *parents, name = key.split(".")
        section: Any = mapping
        for parent in parents:
            if isinstance(section, tuple):
                section = next(each for each in section if each["name"] == parent)
            else:
                section = section[parent]
        section[name] = value
    return Config.model_validate(mapping)


def taken(config: Config, key: str) -> list[float | None]:
    """The values of a setting in the run: both ends of each line, and the usual one where there is a gap."""
    spans = sorted((stage for stage in config.stages if key in stage.changes), key=lambda stage: stage.start)
    found: list[float | None] = []
    done: float | None = 0.0  # up to where stages have changed it without a gap; None: to the end
    for stage in spans:
        change = stage.changes[key]
        found += change.values() if isinstance(change, dict) else [change]
        if done is not None and stage.start <= done:
            done = stage.until
    return found if done is None else [*found, settings(config)[key]]


def problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the stages; it may come as well from the sections that they change."""
    known = settings(config)
    unknown = [
        Problem(("stages", str(index), key), _unknown(key, known, config), _sections_of(key))
        for index, stage in enumerate(config.stages)
        for key in stage.changes
        if key not in known
    ]
    yield from unknown or _overlaps(config) or _lines_of_whole(config, known) or _bad_values(config)


def _sections_of(key: str) -> tuple[Keys, ...]:
    """What decides whether a stage can change a key: the section that it is in, or the list of losses."""
    *section, _ = key.split(".")
    return (tuple(section[:1] if section[:1] == ["losses"] else section),) if section else ()


def _unknown(key: str, known: Mapping[str, float | None], config: Config) -> str:
    if key.removeprefix("head.") in HEAD and (why := _why_not(config, key)):
        return why
    if key.startswith("head.margin."):
        numbers = [name for name in known if name.startswith("head.margin.")]
        why = "; each class has its own margin" if _has_class_margins(config) else ""
        return (
            f"head.margin is {config.head.margin.name}, of which a stage can change {', '.join(numbers)}{why}"
        )
    if near := get_close_matches(key, known, n=1):
        return f"no setting that a stage can change; did you mean {near[0]}?"
    return f"no setting that a stage can change; those of this config are {', '.join(known)}"


def _overlaps(config: Config) -> list[Problem]:
    """Pairs of stages that change a setting at the same time."""
    return [
        Problem(
            ("stages", str(second), key),
            f"stages.{first} changes this too, {_span(one)}, and this stage {_span(other)}; "
            "let one end before the other begins",
        )
        for (first, one), (second, other) in combinations(enumerate(config.stages), 2)
        if _begins_before_end(one, other) and _begins_before_end(other, one)
        for key in other.changes
        if key in one.changes
    ]


def _begins_before_end(one: StageConfig, other: StageConfig) -> bool:
    return other.until is None or one.start < other.until


def _span(stage: StageConfig) -> str:
    begin = f"from {stage.unit} {stage.start:g}"
    return begin if stage.until is None else f"{begin} until {stage.until:g}"


def _lines_of_whole(config: Config, known: Mapping[str, float | None]) -> list[Problem]:
    """Lines of settings that are whole numbers, and so have nothing between two values."""
    return [
        Problem(
            ("stages", str(index), key),
            "is a whole number, which a stage can set but not move on a line; write one number for each "
            f"stage, such as {key}: {known[key]}, got {shown(change)}",
            _sections_of(key),
        )
        for index, stage in enumerate(config.stages)
        for key, change in stage.changes.items()
        if isinstance(change, dict) and isinstance(known[key], int)
    ]


def _bad_values(config: Config) -> dict[Problem, None]:
    """Values that the config refuses, at any time of the run; the keys of the result, each once.

    Between two borders of stages every value moves on a line, and what the config allows is convex. So what
    holds at both ends holds all the way. A value is told as the end of its stage's line has it, a rule
    between keys where it is first broken.
    """
    ends = [border for stage in config.stages for border in (stage.start, stage.until) if border is not None]
    last = max(ends, default=0.0) + 1.0  # stands for the end of the run, wherever that is
    found: dict[Problem, None] = {}
    between = set[str]()
    for begin, after in pairwise(sorted({0.0, *ends, last})):
        for time in (begin, after):
            values, indices = _values(config, time, begin, last)
            for key, problem in _refused(config, values):
                if (index := indices.get(key)) is not None:
                    if time in (config.stages[index].start, config.stages[index].until or last):
                        found[problem._replace(path=("stages", str(index), key))] = None
                elif key not in between:
                    between.add(key)
                    text = f"{_when(config, time, begin, last)}, {key}: {problem.text}"
                    found[Problem(("stages",), text, (problem.path, *problem.others))] = None
    return found


def _refused(config: Config, values: Mapping[str, float | None]) -> Iterator[tuple[str, Problem]]:
    """The keys that the config refuses with other values, as a stage names them, and why."""
    try:
        with_settings(config, values)
    except ValidationError as error:
        for details in error.errors():
            problem = explain(details)
            yield _key(problem.path, config), problem


def _when(config: Config, time: float, begin: float, last: float) -> str:
    """Of the first or the last moment of a part of the run, which begins at `begin`."""
    unit = config.stages[0].unit
    if time == begin:
        return f"from {unit} {time:g} on"
    return "by the end of the run" if time == last else f"by {unit} {time:g}"


def _key(path: tuple[str, ...], config: Config) -> str:
    """As a stage names it."""
    if path[0] == "losses" and len(path) > 1:
        path = ("losses", config.losses[int(path[1])].name, *path[2:])
    return ".".join(path)


def _values(
    config: Config, time: float, begin: float, end: float
) -> tuple[dict[str, float | None], dict[str, int]]:
    """By key, its value at a time of the part of the run that begins at `begin`, and which stage gives it."""
    values: dict[str, float | None] = {}
    indices: dict[str, int] = {}
    for index, stage in enumerate(config.stages):
        stop = end if stage.until is None else stage.until
        if not stage.start <= begin < stop:
            continue
        for key, change in stage.changes.items():
            indices[key] = index
            if isinstance(change, dict):
                done = (time - stage.start) / (stop - stage.start)
                change = change["from"] * (1.0 - done) + change["to"] * done
            values[key] = change
    return values, indices
