"""Every margin beside CombinedMargin's family, with settings under which it does all that it can."""

import partialfc
from tests.head.margins.dense import Make

ARCFACE: Make = (partialfc.ArcFace, {"scale": 16.0, "margin": 0.4})
COSFACE: Make = (partialfc.CosFace, {"scale": 16.0, "margin": 0.3})
NORMS = {"l_a": 0.5, "u_a": 4.0, "l_m": 0.1, "u_m": 1.0, "lambda_g": 2.0}  # of embeddings in cases.py
ANNEALED = {"lambda_min": 0.1, "lambda_base": 2.0, "lambda_gamma": 1.0}
MARGINS: dict[str, Make] = {
    "mv_softmax": (partialfc.MVSoftmax, {"base": ARCFACE, "t": 0.3}),
    "mv_softmax_adaptive": (partialfc.MVSoftmax, {"base": COSFACE, "t": 0.3, "adaptive": True}),
    "curricularface": (partialfc.CurricularFace, {"scale": 16.0, "margin": 0.4, "momentum": 0.5}),
    "magface": (partialfc.MagFace, {"scale": 16.0, **NORMS}),
    "adaface": (partialfc.AdaFace, {"scale": 16.0, "margin": 0.4, "momentum": 0.9}),
    "elasticface": (partialfc.ElasticFace, {"scale": 16.0, "std": 0.3}),
    "softmax": (partialfc.Softmax, {}),
    "softmax_bias": (partialfc.Softmax, {"bias": True}),
    "modified_softmax": (partialfc.ModifiedSoftmax, {}),
    "sphereface": (partialfc.SphereFace, {"m": 4, **ANNEALED}),
    "sphereface_straight": (
        partialfc.SphereFace,
        {"m": 3, **ANNEALED, "margin_gradient": "straight_through"},
    ),
    "large_margin_softmax": (partialfc.LargeMarginSoftmax, {"m": 3}),
    "elasticface_plus": (partialfc.ElasticFace, {"base": "cosface", "scale": 16.0, "std": 0.3, "plus": True}),
}
STATEFUL = ("curricularface", "adaface")
