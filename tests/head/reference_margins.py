"""Each margin as its paper writes it: plain Python, one sample at a time, no tensors and no derivative."""

import math
import statistics
from collections.abc import Callable, Sequence

Target = Callable[[float], float]


def arc(cos: float, m: float) -> float:
    """cos(theta + m), and beyond pi ArcFace's usual continuation."""
    theta = math.acos(cos)
    if theta + m < math.pi:
        return math.cos(theta + m)
    return cos - max(m * math.sin(m), 1 - math.cos(m))


def moving_average(old: float, of_batch: float, momentum: float) -> float:
    return momentum * of_batch + (1 - momentum) * old


def curricular_t(t: float, cosines: Sequence[float], momentum: float) -> float:
    """CurricularFace: the t that a batch is computed with, of the one before."""
    return moving_average(t, statistics.fmean(cosines), momentum) if cosines else t


def curricular_negative(cos: float, target: float, t: float) -> float:
    """target: the target's cosine after its margin."""
    return cos * (t + cos) if cos > target else cos


def mv_negative(cos: float, target: float, t: float, adaptive: bool) -> float:
    if cos <= target:
        return cos
    return (t + 1) * cos + t if adaptive else cos + t


def magface_norm(norm: float, l_a: float, u_a: float) -> float:
    return min(max(norm, l_a), u_a)


def magface(
    cos: float, norm: float, l_a: float = 10.0, u_a: float = 110.0, l_m: float = 0.45, u_m: float = 0.8
) -> float:
    share = (magface_norm(norm, l_a, u_a) - l_a) / (u_a - l_a)
    return arc(cos, (1 - share) * l_m + share * u_m)


def magface_penalty(norm: float, lambda_g: float, l_a: float = 10.0, u_a: float = 110.0) -> float:
    a = magface_norm(norm, l_a, u_a)
    return lambda_g * (1 / a + a / u_a**2)


def adaface_norm(norm: float) -> float:
    return min(max(norm, 1e-3), 100.0)


def adaface_averages(mean: float, std: float, norms: Sequence[float], momentum: float) -> tuple[float, float]:
    """mean and std that a batch is computed with, of those before."""
    held = [adaface_norm(norm) for norm in norms]
    if held:
        mean = moving_average(mean, statistics.fmean(held), momentum)
    if len(held) > 1:
        std = moving_average(std, statistics.stdev(held), momentum)
    return mean, std


def adaface(cos: float, norm: float, mean: float, std: float, m: float = 0.4, h: float = 0.333) -> float:
    z = min(max((adaface_norm(norm) - mean) / (std + 1e-3) * h, -1.0), 1.0)
    g_angle, g_add = -m * z, m * z + m
    return math.cos(min(max(math.acos(cos) + g_angle, 1e-3), math.pi - 1e-3)) - g_add


def elastic_margins(
    cosines: Sequence[float], draws: Sequence[float], mean: float, std: float, largest: float, plus: bool
) -> list[float]:
    """Each sample's margin; draws: of a standard normal."""
    margins = [min(max(mean + std * draw, 0.0), largest) for draw in draws]
    if not plus:
        return margins
    assigned = [0.0] * len(margins)
    farthest_first = sorted(range(len(cosines)), key=lambda sample: cosines[sample])
    for sample, margin in zip(farthest_first, sorted(margins, reverse=True), strict=True):
        assigned[sample] = margin
    return assigned


def psi(cos: float, m: int) -> float:
    theta = math.acos(cos)
    k = min(int(m * theta / math.pi), m - 1)
    return (-1) ** k * math.cos(m * theta) - 2 * k


def annealed(
    cos: float, m: int, step: int, lambda_min: float = 0.0, base: float = 0.0, gamma: float = 0.0
) -> float:
    """SphereFace and LargeMarginSoftmax, before the norms."""
    weight = max(lambda_min, base / (1 + gamma * step))
    return (weight * cos + psi(cos, m)) / (1 + weight)
