"""What a checkpoint says about its network, checked: it may come from a stranger."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from partialfc.backbones import build_backbone
from partialfc.deploy.saved_config import section
from partialfc.errors import CheckpointError, ConfigError

SECTIONS: dict[str, dict[str, type]] = {  # of the config that was saved with it; nothing else of it is read
    "backbone": {"name": str, "embedding_size": int, "options": dict},
    "data": {"image_size": int, "channels": int},
}
AMPS = (None, "auto", "bfloat16", "float16")  # values of train.amp


@dataclass(frozen=True)
class SavedNetwork:
    """The arguments of `build_backbone`, the step that the checkpoint was saved at, and how the run verified.

    amp: what its network was autocast to, as `train.amp` names it. channels_last: `backbone.channels_last`.
    """

    step: int
    name: str
    options: Mapping[str, Any]
    embedding_size: int
    image_size: int
    channels: int
    amp: str | None
    channels_last: bool

    @staticmethod
    def of(checkpoint: Path, state: Mapping[str, Any]) -> "SavedNetwork":
        """Of a checkpoint's state.

        Raises CheckpointError, which names everything that is missing or of another type.
        """
        config = section(state, "config")
        found: dict[str, Any] = {"step": state.get("step")}
        problems = [] if _is(found["step"], int) else [_problem("step", found["step"], int)]
        for name, keys in SECTIONS.items():
            values = section(config, name)
            for key, kind in keys.items():
                found[key] = values.get(key)
                if not _is(found[key], kind):
                    problems.append(_problem(f"config.{name}.{key}", found[key], kind))
        found["amp"] = _amp(config)
        if found["amp"] not in AMPS:
            wanted = ", ".join(map(repr, AMPS))
            problems.append(f"its amp is {found['amp']!r:.40}, and must be one of {wanted}")
        found["channels_last"] = section(config, "backbone").get("channels_last") is True
        if problems:
            raise CheckpointError(
                f"{checkpoint} does not say which network was trained: {'; '.join(problems)}"
            )
        return SavedNetwork(**found)

    def build(self, origin: Path, *, trust: frozenset[str]) -> nn.Module:
        """The backbone, with numbers of its own. origin: what it is of, which errors name.

        Raises ConfigError for one that there is not, or whose module is not in `trust`, and CheckpointError
        where no memory holds it.
        """
        try:
            return build_backbone(
                self.name,
                embedding_size=self.embedding_size,
                image_size=self.image_size,
                channels=self.channels,
                options=self.options,
                trust=trust,
            )
        except ConfigError as error:
            raise ConfigError(f"{origin}: {error}") from error
        except (RuntimeError, MemoryError) as error:
            if ":" in self.name:  # from the user's own code, which its traceback helps to fix
                raise
            raise CheckpointError(f"{origin}: no memory holds its {self.name}: {error}") from error


def _amp(config: Mapping[str, Any]) -> object:
    """`verification.amp`, which may say to take `train.amp`; older checkpoints have only that."""
    own = section(config, "verification").get("amp", "train")
    return section(config, "train").get("amp") if own == "train" else own


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _problem(key: str, value: object, kind: type) -> str:
    wanted = {int: "a whole number", str: "text", dict: "a mapping"}[kind]
    return f"{key} is {'missing' if value is None else repr(value)[:40]}, and must be {wanted}"
