"""The loss in autograd's graph: a gradient that the head can no longer give is an error."""

import copy

import pytest
import torch

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
