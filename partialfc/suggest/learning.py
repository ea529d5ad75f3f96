"""Rules for the training: batch, length, learning rate, warm-up, and how often to look."""

from typing import Any

from partialfc.suggest.choice import Choice

LEAST_BATCH = 8
STEPS_AN_EPOCH = 8  # at least, so that a small set has steps enough
# Images that a run goes through in all: at least so many for each class, and within these bounds.
SEEN = (60_000, 150_000)
EPOCHS = (20, 60)
WARMUP = 0.1  # of the run
LOOKS = 5  # verifications and checkpoints of a short run
LONG = 2_000  # steps of an epoch after which one of each is due anyhow
# Bytes of an accelerator, images of a batch that it has room for at 112 pixels.
ROOM = ((24 << 30, 128), (12 << 30, 64), (0, 32))


def batch_size(usual: int, *, images: int, ranks: int, memory: int | None) -> int:
    """usual: of a rank; memory: bytes of an accelerator, None without one. Over all ranks together."""
    if memory is not None:
        usual = min(usual, next(most for least, most in ROOM if memory >= least))
    most = usual * ranks
    while most > LEAST_BATCH * ranks and images < STEPS_AN_EPOCH * most:
        most //= 2
    return max(1, min(most, images))


def epochs(images: int) -> int:
    """Passes over the data: few over much, more over little."""
    least, most = EPOCHS
    return max(least, min(most, round(SEEN[1] / images)))


def rate(batch: int, lr: float, lr_batch: int) -> float:
    """In proportion to the batch, from a tenth of `lr` to twice as much."""
    return float(f"{lr * min(2.0, max(0.1, batch / lr_batch)):.2g}")


def optimizer(name: str, batch: int, lr: float, lr_batch: int) -> dict[str, Choice]:
    """The keys of the section optimizer."""
    if name == "adamw":
        return {"name": Choice("adamw", "As asked for."), "lr": Choice(1e-3, "Usual for adamw.")}
    return {
        "name": Choice("sgd", "With momentum. adamw is for transformers, with a learning rate of 0.001."),
        "lr": Choice(
            rate(batch, lr, lr_batch),
            "Goes with the batch: twice the batch, twice the rate. Where the loss jumps or is not finite, "
            "halve it.",
        ),
    }


def schedule(shape: dict[str, Any]) -> dict[str, Choice]:
    """The keys of the section schedule."""
    return {
        "name": Choice(shape["name"], "How the learning rate falls to nothing at the end of the run."),
        "warmup_ratio": Choice(WARMUP, "It rises from nothing in this share of the run."),
    }


def period(*, unit: str, length: float, steps_an_epoch: float) -> dict[str, Any]:
    """How often to verify and to write a checkpoint."""
    if unit == "steps":
        return {"every_steps": max(1, int(length) // LOOKS)}
    if steps_an_epoch >= LONG or length <= LOOKS:
        return {"every_epochs": 1.0}
    return {"every_epochs": float(f"{length / LOOKS:.3g}")}
