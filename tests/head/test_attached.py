"""The loss in autograd's graph: a gradient that the head can no longer give is an error."""

import copy

import pytest
import torch
import torch.nn.functional as F

import partialfc

D, C = 6, 20


def build(**options):
    margin = partialfc.NormalizedSoftmax(scale=16.0)
    return partialfc.PartialFC(
        D, C, margin=margin, weight_dtype=torch.float64, compute_dtype=torch.float64, **options
    )


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, D, dtype=torch.float64, generator=generator)
    return x.requires_grad_(), torch.randint(0, C, (8,), generator=generator)


def write_to_the_weight(head, optimizer):
    with torch.no_grad():
        head.weight.mul_(2.0)


def load_a_state(head, optimizer):
    head.load_state_dict(copy.deepcopy(head.state_dict()))


def step_of_another_loss(head, optimizer):
    head(*batch(1)).backward()
    optimizer.step()
    optimizer.zero_grad()


OPTIMIZERS = {
    "RowSGD": (partialfc.RowSGD, {}),
    "RowAdamW": (partialfc.RowAdamW, {}),
    "torch's SGD": (lambda head, lr: torch.optim.SGD(head.parameters(), lr=lr), {"sparse_grad": True}),
    "SparseAdam": (lambda head, lr: torch.optim.SparseAdam(head.parameters(), lr=lr), {"sparse_grad": True}),
}


@pytest.mark.parametrize("move", [step_of_another_loss, load_a_state, write_to_the_weight])
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_backward_after_the_centres_have_moved_is_an_error(kind, move, training):
    make, options = OPTIMIZERS[kind]
    head = build(**options).train(training)
    optimizer = make(head, lr=0.1)
    late = head(*batch(0))
    move(head, optimizer)
    before = copy.deepcopy(head.state_dict()["weight"])
    with pytest.raises(RuntimeError, match="centres have moved since"):
        late.backward()
    optimizer.step()
    assert torch.equal(head.state_dict()["weight"], before)
    head(*batch(0)).backward()  # a forward on the centres as they are now is as good as ever
    optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_retained_graph_is_good_until_the_step(kind):
    make, options = OPTIMIZERS[kind]
    head = build(**options)
    optimizer = make(head, lr=0.1)
    loss = head(*batch(0))
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="centres have moved since"):
        loss.backward()


def test_a_write_between_backward_and_the_row_optimizers_step_is_an_error():
    head = build()
    optimizer = partialfc.RowSGD(head, lr=0.1)
    head(*batch(0)).backward()
    write_to_the_weight(head, optimizer)
    with pytest.raises(RuntimeError, match="centres have moved since"):
        optimizer.step()
    optimizer.zero_grad()
    head(*batch(0)).backward()
    optimizer.step()


@pytest.mark.parametrize("read", [lambda head, optimizer: head.state_dict(), lambda _, o: o.flush()])
def test_paying_what_rows_owe_moves_no_centre(read):
    """Also where the head is read and evaluated between forward and backward."""

    def run(between):
        head = build(sample_rate=0.5)
        optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9)
        for seed in range(4):
            loss = head(*batch(seed))
            between(head, optimizer)
            loss.backward()
            between(head, optimizer)
            optimizer.step()
        return head.state_dict()["weight"]

    torch.testing.assert_close(run(read), run(lambda *_: None), atol=1e-12, rtol=0)


@pytest.mark.parametrize("sparse_grad", [False, True])
@pytest.mark.parametrize("by", ["embeddings", "factor", "weight"])
def test_a_second_derivative_is_an_error(sparse_grad, by):
    head, (x, y) = build(sparse_grad=sparse_grad), batch(0)
    if not sparse_grad:
        partialfc.RowSGD(head, lr=0.1)
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = head(x, y) * factor
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    penalty = gradient.pow(2).sum()
    of = {"embeddings": x, "weight": head.weight, "factor": factor}[by]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(penalty, of, allow_unused=True, retain_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        (loss + penalty).backward()


@pytest.mark.filterwarnings("ignore:Using backward")
def test_a_graph_of_the_gradient_that_nothing_is_taken_back_through_changes_nothing():
    head, (x, y) = build(sparse_grad=True), batch(0)
    head(x, y).backward(create_graph=True)
    w, again = head.weight.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
    F.cross_entropy(16 * F.normalize(again) @ F.normalize(w).T, y).backward()
    torch.testing.assert_close(x.grad.detach(), again.grad, atol=1e-12, rtol=0)
    torch.testing.assert_close(head.weight.grad.detach().to_dense(), w.grad, atol=1e-10, rtol=0)
