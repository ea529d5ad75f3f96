"""How many of the labels are wrong, and how sure that is of which, without knowing any of them.

The share of an image is the share of wrong labels, drawn at random, that would fit it as well as its own
label does. Right labels have shares near 0, with a tail; wrong ones have shares all over 0..1, fewer towards
1 where the network has begun to learn them. Two curves are fitted to the histogram of all shares, both with a
distribution function of closed form:
  right: a generalised Pareto distribution, the general form of tails (Pickands 1975, Annals of Statistics 3),
  wrong: a Kumaraswamy distribution (1980, Journal of Hydrology 46), which is uniform for a = b = 1.
From them follow the share of wrong labels, the precision to expect beyond a threshold, and how likely each
label is wrong: the two groups of Efron et al. 2001 (JASA 96), of which the group "label drawn at random" is
the one that is known.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EDGES = torch.cat([torch.zeros(1), torch.logspace(-4, 0, 41)]).double()
EDGES[-1] = 1.0
STARTS = (0.01, 0.1, 0.4)  # shares of wrong labels that the fit begins with
NEAR_UNIFORM = 20.0  # how strongly the exponents a and b are held near 1, in log-likelihood
TAIL = 0.5  # how strongly the tail's index is held near 1


@dataclass(frozen=True, eq=False)
class Mixture:
    """wrong: the share of labels that are wrong. right_mass, wrong_mass: [bins] by `EDGES`, sum 1 both."""

    wrong: float
    right_mass: Tensor
    wrong_mass: Tensor

    def precision_beyond(self, threshold: float) -> float:
        """The share of wrong labels among images whose share is at least `threshold`, one of EDGES."""
        return float(self._precisions()[_bin(threshold)])

    def recall_beyond(self, threshold: float) -> float:
        """The share of the wrong labels that have at least `threshold`, one of EDGES."""
        return float(_beyond(self.wrong_mass)[_bin(threshold)])

    def threshold(self, precision: float) -> float | None:
        """The smallest of EDGES beyond which so many labels are expected to be wrong; None: there is none."""
        enough = (self._precisions() >= precision).nonzero().flatten()
        return None if not len(enough) else float(EDGES[enough[0]])

    def probabilities(self, shares: Tensor) -> Tensor:
        """shares [n] -> how likely each label is wrong [n]."""
        wrong = self.wrong * self.wrong_mass
        of_bins = wrong / (wrong + (1 - self.wrong) * self.right_mass).clamp(min=1e-300)
        bins = (torch.bucketize(shares.double(), EDGES, right=True) - 1).clamp(0, len(of_bins) - 1)
        return of_bins[bins].float()

    def _precisions(self) -> Tensor:
        wrong = self.wrong * _beyond(self.wrong_mass)
        return wrong / (wrong + (1 - self.wrong) * _beyond(self.right_mass)).clamp(min=1e-300)


def fit_mixture(shares: Tensor) -> Mixture:
    """shares [n] in 0..1, n at least 1 -> the likeliest mixture, its curves held near plain ones."""
    counts = torch.histogram(shares.double().cpu(), EDGES).hist
    fits = [_fitted(counts, start) for start in STARTS]
    _, parameters = min(fits, key=lambda fit: fit[0])
    wrong, right_mass, wrong_mass = _curves(parameters)
    return Mixture(float(wrong), right_mass, wrong_mass)


def _fitted(counts: Tensor, start: float) -> tuple[float, Tensor]:
    """The loss and the parameters of one fit."""
    begin = torch.tensor(start / (1 - start)).log()
    parameters = torch.tensor([float(begin), 0.0, 0.0, float(EDGES[1].log()), 0.0], dtype=torch.float64)
    parameters.requires_grad_()
    optimizer = torch.optim.LBFGS([parameters], max_iter=500, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = _loss(parameters, counts)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    found = parameters.detach()
    value = float(_loss(found, counts))
    return (value if value == value else torch.inf), found


def _loss(parameters: Tensor, counts: Tensor) -> Tensor:
    wrong, right_mass, wrong_mass = _curves(parameters)
    likely = (1 - wrong) * right_mass + wrong * wrong_mass
    _, a, b, _, tail = parameters
    held = NEAR_UNIFORM * (a.square() + b.square()) + TAIL * tail.square()
    value: Tensor = held - (counts * (likely + 1e-15).log()).sum()
    return value


def _curves(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The share of wrong labels, and which part of the right and of the wrong ones is in each bin [bins]."""
    wrong = parameters[0].sigmoid()
    a, b, scale, tail = parameters[1:].clamp(-25, 10).exp()
    right = 1 - (1 + tail * EDGES / scale) ** (-1 / tail)
    of_wrong = 1 - (1 - EDGES[1:-1] ** a) ** b
    of_wrong = torch.cat([of_wrong.new_zeros(1), of_wrong, of_wrong.new_ones(1)])
    return wrong, (right / right[-1]).diff(), of_wrong.diff()


def _beyond(mass: Tensor) -> Tensor:
    """[bins], the mass of each bin and of those behind it."""
    return mass.flip(0).cumsum(0).flip(0)


def _bin(threshold: float) -> int:
    return int((EDGES - threshold).abs()[:-1].argmin())
