"""The bytes that losses beside the head need: centres that stay, and the distances of a batch."""

from partialfc.plan.setting import Setting

# The peak of a step, counted in a trace of each: bytes for a pair of an own sample and any of the batch, in
# float32, and tensors [N, D].
PAIR_BYTES = {
    "contrastive": 30,
    "angular_contrastive": 34,
    "triplet_all": 47,
    "triplet_hard": 17,
    "triplet_semihard": 56,
}
TENSORS = {"center": 5, "center_of_head": 6}
TENSORS_OF_PAIRS = 1


def loss_centre_bytes(setting: Setting, rows: int) -> int:
    """Bytes of `rows` centres of a centre loss's own; 0 without one. A checkpoint holds them."""
    return rows * setting.embedding * setting.math_bytes if "center" in setting.losses else 0


def loss_bytes(setting: Setting) -> int:
    """Those of this rank's shard, and of the loss that needs the most in a step: they come one by one."""
    batch = max((_of_a_step(setting, name) for name in setting.losses), default=0)
    return loss_centre_bytes(setting, setting.local_classes) + batch


def _of_a_step(setting: Setting, name: str) -> int:
    every = setting.samples * setting.embedding * setting.math_bytes
    pairs = setting.batch * setting.samples * PAIR_BYTES.get(name, 0) * setting.math_bytes // 4
    return pairs + TENSORS.get(name, TENSORS_OF_PAIRS) * every
