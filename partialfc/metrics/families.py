"""Every metric that is exported: name, kind, unit, labels and meaning.

A new one is an entry in FAMILIES. `head.py` or `run.py` gives it its value, docs/reference/metrics.md its
line.
"""

from dataclasses import dataclass

STEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
PHASE_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0)
COLLECTIVE_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
CHECKPOINT_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
DEGREES = tuple(float(angle) for angle in range(5, 181, 5))

STEP_PHASES = ("data_wait", "backbone", "head_forward", "backward", "optimizer")  # the phases of a step
PHASES = (*STEP_PHASES, "checkpoint", "verification")
COLLECTIVES = ("all_gather", "all_reduce", "reduce_scatter", "all_to_all", "broadcast")

COUNTER, GAUGE, HISTOGRAM, INFO = "counter", "gauge", "histogram", "info"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; each of its samples has the labels `run` and `rank` beside its own `labels`.

    Attributes:
        kind: counter, gauge, histogram or info.
        name: As Prometheus shows it.
        help: One sentence on what it is.
        labels: The names of its own labels.
        values: Values of its one label that are exported from the start. Samples with other values appear
            when they are first set, and so do gauges.
        buckets: A histogram's upper bounds.
        everywhere: A counter that has the same value on every rank, so that its sum over ranks means nothing.
        tallied: A histogram that gets many values at once.
    """

    kind: str
    name: str
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    everywhere: bool = False
    tallied: bool = False

    def sample_names(self) -> tuple[str, ...]:
        """The names of its samples, as a query uses them."""
        if self.kind == HISTOGRAM:
            return tuple(f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
        return (self.name,)


_ALL = (
    Family(COUNTER, "partialfc_images_total", "Images that this rank has trained on."),
    Family(COUNTER, "partialfc_steps_total", "Optimizer steps, skipped ones included.", everywhere=True),
    Family(
        COUNTER,
        "partialfc_nonfinite_steps_total",
        "Steps undone and skipped on all ranks for a loss or gradient that is not finite.",
        everywhere=True,
    ),
    Family(
        COUNTER,
        "partialfc_overflow_steps_total",
        "Steps skipped on all ranks because the scaled gradient overflowed float16.",
        everywhere=True,
    ),
    Family(COUNTER, "partialfc_bad_records_total", "Records that this rank could not decode and skipped."),
    Family(
        COUNTER,
        "partialfc_collective_calls_total",
        "Collectives that this rank has called.",
        ("collective",),
        COLLECTIVES,
    ),
    Family(
        COUNTER,
        "partialfc_collective_bytes_total",
        "Bytes of the larger tensor that each collective of this rank took or gave.",
        ("collective",),
        COLLECTIVES,
    ),
    Family(
        COUNTER,
        "partialfc_sampled_positives_total",
        "Centres of this rank that took part in a training forward as a class of the batch.",
    ),
    Family(
        COUNTER,
        "partialfc_sampled_negatives_total",
        "Centres of this rank that took part in a training forward as a class not in the batch.",
    ),
    Family(COUNTER, "partialfc_checkpoints_total", "Checkpoints written.", everywhere=True),
    Family(
        HISTOGRAM,
        "partialfc_step_seconds",
        "Time of a training step, waiting included.",
        buckets=STEP_SECONDS,
    ),
    Family(
        HISTOGRAM,
        "partialfc_phase_seconds",
        "Time of a step by phase, and of each checkpoint and verification between steps.",
        ("phase",),
        PHASES,
        PHASE_SECONDS,
    ),
    Family(
        HISTOGRAM,
        "partialfc_collective_seconds",
        "Time of a collective, waiting for other ranks included.",
        ("collective",),
        COLLECTIVES,
        COLLECTIVE_SECONDS,
    ),
    Family(
        HISTOGRAM,
        "partialfc_target_angle_degrees",
        "Angle between embedding and own centre over the global batch of each logged step; rank 0 only.",
        buckets=DEGREES,
        tallied=True,
    ),
    Family(
        HISTOGRAM,
        "partialfc_checkpoint_seconds",
        "Time to write a checkpoint.",
        buckets=CHECKPOINT_SECONDS,
    ),
    Family(GAUGE, "partialfc_step", "The last step done."),
    Family(GAUGE, "partialfc_planned_steps", "The step at which the run will have finished."),
    Family(GAUGE, "partialfc_epoch", "Passes over the training data so far."),
    Family(GAUGE, "partialfc_loss", "Mean loss since the last log line."),
    Family(
        GAUGE,
        "partialfc_loss_term",
        "Mean of each loss, the head's and those beside it, without its weight, since the last log line.",
        ("loss",),
    ),
    Family(GAUGE, "partialfc_learning_rate", "Learning rate by group of parameters.", ("group",)),
    Family(GAUGE, "partialfc_gradient_norm", "Mean norm of the backbone's gradient since the last log line."),
    Family(GAUGE, "partialfc_loss_scale", "What the loss is multiplied by in float16; 1 otherwise."),
    Family(
        GAUGE, "partialfc_stage", "1 in the steps of a stage, else 0; by its place in the list.", ("stage",)
    ),
    Family(
        GAUGE,
        "partialfc_setting",
        "What each key that stages change is in this step; NaN where it is null.",
        ("key",),
    ),
    Family(GAUGE, "partialfc_embedding_norm", "Mean norm of the global batch's embeddings."),
    Family(
        GAUGE,
        "partialfc_centres_touched_ratio",
        "Share of this rank's centres that took part in any of the last 100 training forwards.",
    ),
    Family(
        GAUGE,
        "partialfc_straggler_ratio",
        "Step time of the slowest rank over the median rank's (of two: the faster's), both without waiting.",
    ),
    Family(GAUGE, "partialfc_world_size", "Ranks of the run."),
    Family(GAUGE, "partialfc_loader_queue_batches", "Batches that the loader has read ahead."),
    Family(GAUGE, "partialfc_process_resident_bytes", "Resident memory of this rank's process."),
    Family(GAUGE, "partialfc_gpu_memory_bytes", "Memory of this rank's GPU that PyTorch holds.", ("kind",)),
    Family(
        GAUGE,
        "partialfc_verification_accuracy",
        "Pair accuracy of the last verification, as a ratio, by set.",
        ("set",),
    ),
    Family(
        GAUGE,
        "partialfc_verification_tar",
        "True accept rate of the last verification by set and false accept rate.",
        ("set", "far"),
    ),
    Family(
        GAUGE, "partialfc_checkpoint_bytes", "Size of the last checkpoint, all ranks together; rank 0 only."
    ),
    Family(
        GAUGE, "partialfc_checkpoint_timestamp_seconds", "Unix time at which the last checkpoint was written."
    ),
    Family(GAUGE, "partialfc_last_step_timestamp_seconds", "Unix time at which the last step ended."),
    Family(GAUGE, "partialfc_running", "1 while the run trains, 0 when it has ended."),
    Family(INFO, "partialfc_build_info", "Versions and backend.", ("version", "torch", "python", "backend")),
)
FAMILIES = {family.name: family for family in _ALL}
