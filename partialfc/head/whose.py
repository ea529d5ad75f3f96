"""Whose shard a saved state is: noted when it is taken, and checked before it is loaded."""

from collections.abc import Mapping
from typing import Any

from partialfc.head.shard import ClassShard

KEY = "shard"
KIND = {"sub_centers": 1, "bias": False}  # of states that do not say it


def note(shard: ClassShard, **kind: int) -> dict[str, int]:
    """What a state says of the shard whose rows it holds; kind: what `KIND` has, of a head's."""
    return {
        "rank": shard.rank,
        "world_size": shard.world_size,
        "num_classes": shard.num_classes,
        **kind,
    }


def check_state(state: Mapping[str, Any], prefix: str, own: Mapping[str, int]) -> None:
    """Raises ValueError where a module's state holds, at `prefix`, what is or may be another shard's.

    The note lies in the extra state. Files that hold tensors alone lose it, and then only the user knows.
    """
    extra = state.get(f"{prefix}_extra_state")
    if extra is None and f"{prefix}weight" in state and own["world_size"] > 1:
        raise ValueError(
            f"this state has {prefix}weight and no {prefix}_extra_state, so it does not say whose shard it "
            "is: a file of tensors alone, such as safetensors, leaves it out. Keep each rank's whole "
            "head.state_dict(), with torch.save; or, where this is surely what this same rank saved, set "
            f'state["{prefix}_extra_state"] = head.get_extra_state() first'
        )
    check_note(extra.get(KEY) if isinstance(extra, Mapping) else None, own)


def check_note(saved: object, own: Mapping[str, int]) -> None:
    """Raises ValueError where a state's note is not `own`; states of version 0.1 have none, and pass."""
    if not isinstance(saved, Mapping):
        return
    told = {**KIND, **saved}
    differing = {name: f"its {name} is {told.get(name)}, this head's is {own[name]}" for name in own}
    differing = {name: text for name, text in differing.items() if told.get(name) != own[name]}
    if not differing:
        return
    says = "; ".join(differing.values())
    if not differing.keys().isdisjoint(KIND):
        raise ValueError(
            f"this state is that of another kind of head: {says}. Load it into a head whose margin has the "
            "bias and the sub-centres with which it was saved"
        )
    raise ValueError(
        f"this state is another shard's: {says}. Let each rank load the state that it saved "
        "itself, into a head built with the same num_classes and number of ranks; the checkpoints of "
        "partialfc train fit any number of ranks"
    )
