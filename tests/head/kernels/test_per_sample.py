"""The small kernels compile, and compute then what they do uncompiled."""

import pytest
import torch

import partialfc
from partialfc.head import loss
from partialfc.head.kernels import elementwise, per_sample

N, T, K, D = 9, 5, 30, 16


def arguments() -> list[tuple[object, tuple[object, ...]]]:
    """Each kernel with arguments."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1

    samples = torch.tensor([7, 0, 3, 8, 2])
    columns = torch.full((N,), -1, dtype=torch.int32)
    columns[samples] = torch.tensor([2, 5, 11, 17, 29], dtype=torch.int32)
    steps = torch.randint(4, 8, (K,), generator=generator, dtype=torch.int32)
    scale, factor = torch.tensor(0.5, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    targets = loss.targets_of(
        partialfc.ArcFace(), partialfc.Samples(numbers(N) - 0.2, numbers(N)), fused=False
    )
    of_samples = (targets, numbers(N), None, 4.0, 64.0, torch.float64)
    return [
        (elementwise.normalised, (numbers(N, D),)),
        (per_sample.owed_since, (steps, samples, numbers(4, 4), 4)),
        (per_sample.owed_since, (steps, None, numbers(4, 4), 4)),
        (per_sample.target_cosines, (numbers(N, D), samples, numbers(T, D))),
        (per_sample.weighted_targets, (numbers(T, D), numbers(N), samples)),
        (per_sample.by_embeddings, (numbers(N, D), numbers(N, D), numbers(N, D), numbers(N), 4, True)),
        (per_sample.by_embeddings, (numbers(N, D), numbers(N, D), numbers(N, D), numbers(N), 4, False)),
        (per_sample.weighted_embeddings, (numbers(N, D), numbers(N), scale, factor, torch.bfloat16)),
        (per_sample.put_targets, (numbers(K, N), columns, samples, 0, numbers(N))),
        (per_sample.unsound, (numbers(N) * 0, scale)),
        (loss._of_samples, of_samples),
    ]


@pytest.mark.slow
def test_the_small_kernels_compile():
    for (kernel, plain), (_, given) in zip(arguments(), arguments(), strict=True):
        expected, found = kernel(*plain, compiled=False), kernel(*given, compiled=True)
        torch.testing.assert_close(found, expected, msg=kernel.__name__)
        torch.testing.assert_close(given[0], plain[0], msg=kernel.__name__)


@pytest.mark.slow
@pytest.mark.parametrize("margin", [partialfc.ArcFace(), partialfc.CombinedMargin(1.2, 0.3, 0.2)], ids=repr)
def test_a_margin_that_says_so_compiles_with_its_derivative(margin):
    cos = torch.cat([torch.linspace(-1.0, 1.0, 41, dtype=torch.float64), torch.rand(8, dtype=torch.float64)])
    norm = torch.rand(49, dtype=torch.float64) + 5.0
    with torch.no_grad():
        plain, compiled = (
            loss.targets_of(margin, partialfc.Samples(cos, norm), fused=fused) for fused in (False, True)
        )
    for name in plain._fields:
        torch.testing.assert_close(getattr(compiled, name), getattr(plain, name), msg=name)
