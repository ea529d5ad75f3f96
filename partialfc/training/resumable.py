"""Which settings a checkpoint holds a run to, because they decide on the tensors in it."""

from collections.abc import Iterator, Mapping
from typing import Any

STATE_OF = {"adaface": "mean, std", "curricularface": "t"}  # what margins keep from step to step, by name
REMEDY = "set them as they were, or start in another run.dir"


def obstacles(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why a run cannot go on from a checkpoint, each as "key old -> new" or so; empty where it can.

    saved, now: the whole config of the run that saved it, and of this one, as a checkpoint has them. Configs
    of older versions lack some keys, which have their defaults then. The backbone's network and the number of
    classes are not compared.
    """
    return [*_of_head(saved, now), *_of_optimizer(saved, now), *_of_losses(saved, now), *_of_lora(saved, now)]


def _of_head(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key, default in (
        ("objective.name", "classification"),
        ("objective.alone", False),
        ("objective.hidden", 32),
        ("objective.backbone_from", None),
        ("backbone.embedding_size", None),
        ("head.name", "partial_fc"),
        ("head.pool.size", None),
        ("head.sub_centers", 1),
    ):
        yield from _changed(key, *_pair(saved, now, key, default))
    bias, own_bias = _pair(saved, now, "head.margin.bias", False)
    name, own_name = _pair(saved, now, "head.margin.name")
    if bias != own_bias:
        has, wants = ("a bias", "none") if bias else ("no bias", "one")
        yield f"it has {has} of each class, and this run's head.margin, {own_name}, has {wants}"
    state, own_state = (STATE_OF.get(each, "nothing") for each in (name, own_name))
    if state != own_state:
        what = f"{name} keeps {state} from step to step, {own_name} {own_state}"
        yield f"head.margin.name {name} -> {own_name}: {what}"


def _of_optimizer(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    name, own_name = _pair(saved, now, "optimizer.name")
    yield from _changed("optimizer.name", name, own_name)
    if not name == own_name == "sgd":
        return
    unsampled, own_unsampled = (each or "dense" for each in _pair(saved, now, "head.unsampled"))
    if unsampled == "frozen":
        yield from _changed("head.unsampled", unsampled, own_unsampled)
    momentum, own_momentum = _pair(saved, now, "optimizer.momentum")
    if own_momentum and not momentum:
        yield from _changed("optimizer.momentum", momentum, own_momentum)
    dtype, own_dtype = _pair(saved, now, "head.momentum_dtype")
    if momentum and own_momentum and (dtype == "int8") != (own_dtype == "int8"):
        yield from _changed("head.momentum_dtype", dtype, own_dtype)


def _of_losses(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if _has_own_centres(now) and not _has_own_centres(saved):
        yield "it has no centres for the centre loss in losses (centres: head takes those of the head)"


def _of_lora(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    updates, own = (_at(config, "finetune.lora", None) for config in (saved, now))
    yield from _changed("finetune.lora", updates, own)


def _has_own_centres(config: Mapping[str, Any]) -> bool:
    return any(loss["name"] == "center" and loss["centres"] == "own" for loss in config.get("losses", ()))


def _changed(key: str, old: object, new: object) -> Iterator[str]:
    if old != new:
        yield f"{key} {'null' if old is None else old} -> {'null' if new is None else new}"


def _pair(saved: Mapping[str, Any], now: Mapping[str, Any], key: str, default: Any = None) -> tuple[Any, Any]:
    """What both have at "section.key", or the default; without one, the saved value is this run's."""
    own = _at(now, key, default)
    return _at(saved, key, own if default is None else default), own


def _at(config: Any, key: str, default: Any) -> Any:
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return default
        config = config[part]
    return config
