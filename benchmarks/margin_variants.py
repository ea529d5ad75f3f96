"""The losses that benchmarks/margins.py compares, and their settings.

Each is written as its Python call; D, C, sizes and head stand for what a run gives. Scale and margins fit a
small task: those of CosFace and ArcFace were chosen on seed 100, which is not among the seeds of the
figures, and the others follow from them or were not searched for. Embeddings of this backbone have norms of
about 8, so margins that read the norm have bounds around it. Averages and schedules are quick enough to
settle within the first third of a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN = "NormalizedSoftmax"
COSFACE = "CosFace"
SAMPLED = "CosFace, r = 0.2"
COSFACE_CALL = "CosFace(scale=10, margin=0.35)"
ARCFACE_CALL = "ArcFace(scale=10, margin=0.45)"


@dataclass(frozen=True)
class Variant:
    """margin, and each of losses with its weight, are Python calls; head has arguments of PartialFC."""

    margin: str
    against: str  # the variant whose figures its own are compared with
    head: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """All of it in one line."""
        head = [f"{name}={value}" for name, value in self.head.items()]
        losses = [f"{weight:g}·{loss}" for loss, weight in self.losses.items()]
        return " + ".join([", ".join([self.margin, *head]), *losses])


def _margins() -> dict[str, Variant]:
    calls = {
        "Softmax": "Softmax()",
        "Softmax, bias": "Softmax(bias=True)",
        "ModifiedSoftmax": "ModifiedSoftmax()",
        PLAIN: "NormalizedSoftmax(scale=10)",
        "LargeMarginSoftmax": "LargeMarginSoftmax(m=2, lambda_min=5, lambda_base=1000, lambda_gamma=1)",
        "SphereFace": "SphereFace(m=4, lambda_min=5, lambda_base=1000, lambda_gamma=1)",
        COSFACE: COSFACE_CALL,
        "ArcFace": ARCFACE_CALL,
        "CombinedMargin": "CombinedMargin(scale=10, m1=1, m2=0.15, m3=0.15)",
        "MVSoftmax": f"MVSoftmax({COSFACE_CALL}, t=0.1)",
        "CurricularFace": "CurricularFace(scale=10, margin=0.45, momentum=0.02)",
        "MagFace": "MagFace(scale=10, l_a=4, u_a=16, l_m=0.35, u_m=0.55, lambda_g=3)",
        "AdaFace": "AdaFace(scale=10, margin=0.3, momentum=0.05)",
        "ElasticFace": "ElasticFace(scale=10, mean=0.45, std=0.05)",
        "ElasticFace, plus": "ElasticFace(scale=10, mean=0.45, std=0.05, plus=True)",
        "SubCenter": f"SubCenter(k=3, base={ARCFACE_CALL})",
    }
    return {name: Variant(call, PLAIN) for name, call in calls.items()}


def _of_the_head() -> dict[str, Variant]:
    by_size = {"class_margins": "0.65 * sizes**-0.25"}
    correction = {"sample_rate": "0.2", "logit_correction": "True"}
    return {
        "CosFace, class margins": Variant(COSFACE_CALL, COSFACE, by_size),
        "CosFace, filter": Variant(COSFACE_CALL, COSFACE, {"interclass_filter": "0.7"}),
        SAMPLED: Variant(COSFACE_CALL, COSFACE, {"sample_rate": "0.2"}),
        "CosFace, r = 0.2, correction": Variant(COSFACE_CALL, SAMPLED, correction),
    }


def _beside_the_head() -> dict[str, Variant]:
    losses = {
        "CenterLoss": ("CenterLoss(D, C)", 0.01),
        "CenterLoss of the head": ("CenterLoss(head=head)", 1.0),
        "ContrastiveLoss": ("ContrastiveLoss(margin=1.0, balanced=True)", 1.0),
        "AngularContrastiveLoss": ("AngularContrastiveLoss(margin=1.0, balanced=True)", 1.0),
        "TripletLoss, all": ("TripletLoss(mining='all', margin=0.3)", 1.0),
        "TripletLoss, hard": ("TripletLoss(mining='hard', margin=0.3)", 1.0),
        "TripletLoss, semihard": ("TripletLoss(mining='semihard', margin=0.3)", 1.0),
    }
    return {
        f"CosFace + {name}": Variant(COSFACE_CALL, COSFACE, losses={call: weight})
        for name, (call, weight) in losses.items()
    }


VARIANTS = {**_margins(), **_of_the_head(), **_beside_the_head()}
