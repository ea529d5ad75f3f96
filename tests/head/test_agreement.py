"""Bad input to the head: one clear error, on every rank together, and nothing hangs."""

import pytest
import torch

import partialfc
from partialfc.distributed import World


def build(**changes):
    options = {"margin": partialfc.ArcFace()} | changes
    return partialfc.PartialFC(options.pop("embedding_size", 8), options.pop("num_classes", 10), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_size": 0}, "embedding_size is 0; it must be a whole number of at least 1"),
        ({"embedding_size": 8.0}, r"embedding_size is 8\.0"),
        ({"num_classes": -5}, "num_classes is -5"),
        ({"num_classes": True}, "num_classes is True"),
        ({"sample_rate": 0.0}, r"sample_rate is 0\.0; it must be a finite number above 0 and at most 1"),
        ({"sample_rate": 1.5}, r"sample_rate is 1\.5"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"sample_rate": "a"}, "sample_rate is 'a'"),
        ({"sample_rate": None}, "sample_rate is None"),
        ({"sample_rate": True}, "sample_rate is True"),
        ({"margin": partialfc.ArcFace}, "it must be a partialfc Margin such as ArcFace"),
        ({"margin": "arcface"}, "margin is 'arcface'; it must be a partialfc Margin"),
        ({"weight_dtype": torch.float16}, r"weight_dtype is torch\.float16; it must be one of"),
        ({"compute_dtype": torch.int8}, r"compute_dtype is torch\.int8"),
        ({"weight_dtype": "float32"}, r"weight_dtype is 'float32'; it must be one of torch\.float32, "),
        ({"seed": -1}, "seed is -1; it must be a whole number of at least 0"),
        ({"seed": 1.5}, r"seed is 1\.5"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"compile": "yes"}, "compile is 'yes'; it must be one of None, False, True"),
        ({"compile": 1}, "compile is 1"),
        ({"sparse_grad": "no"}, "sparse_grad is 'no'; it must be one of False, True"),
        ({"process_group": "gloo"}, "process_group is 'gloo'; it must be None, for the default group, or a"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(2, 9), torch.zeros(2, dtype=torch.int64), r"\(2, 9\); it must be \[B, 8\]"),
        (torch.zeros(8), torch.zeros(1, dtype=torch.int64), r"embeddings.shape is \(8,\)"),
        (torch.zeros(2, 8, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), "floating-point"),
        (torch.zeros(2, 8), torch.zeros(3, dtype=torch.int64), r"labels.shape is \(3,\); it must be \[2\]"),
        (torch.zeros(2, 8), torch.zeros(2), r"torch\.float32; it must be torch\.int64 or torch\.int32"),
        (torch.zeros(2, 8), torch.zeros(2, 1, dtype=torch.int64), r"labels.shape is \(2, 1\)"),
        (torch.zeros(2, 8), [0, 1], r"labels is a list; it must be a torch\.Tensor"),
        (torch.zeros(2, 8), None, "labels is a NoneType"),
        (torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64, device="meta"), "labels is on the device meta"),
        (torch.zeros(2, 8).numpy(), torch.zeros(2, dtype=torch.int64), "embeddings is a ndarray"),
    ],
)
def test_bad_tensors_are_refused(embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        build()(embeddings, labels)


def test_labels_may_be_int32():
    embeddings, labels = torch.randn(3, 8), torch.tensor([1, -1, 3])
    assert torch.equal(build()(embeddings, labels.int()), build()(embeddings, labels))


@pytest.mark.parametrize("label", [10, -2, 2**40])
def test_a_label_out_of_range_is_named(label):
    labels = torch.tensor([3, 9, label])
    message = rf"label {label} at sample 2: num_classes is 10, so labels must be 0\.\.9"
    with pytest.raises(partialfc.LabelError, match=message):
        build()(torch.randn(3, 8), labels)
    assert labels.tolist() == [3, 9, label]


def bad_label_on_rank_one():
    head = build()
    labels = torch.tensor([1, 2, 700 if World.of().rank == 1 else 3])
    head(torch.randn(3, 8), labels)


def bad_size_on_rank_one():
    head = build()
    head(torch.randn(3, 9 if World.of().rank == 1 else 8), torch.tensor([1, 2, 3]))


def other_mode_on_rank_one():
    head = build()
    if World.of().rank == 1:
        head.eval()
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


def test_every_rank_raises_the_label_error_of_one(rank_outcomes):
    for outcome in rank_outcomes(bad_label_on_rank_one, 3):
        assert isinstance(outcome, partialfc.LabelError)
        assert "label 700 at sample 2 on rank 1: num_classes is 10" in str(outcome)


def test_every_rank_hears_of_one_ranks_bad_tensor(rank_outcomes):
    outcomes = rank_outcomes(bad_size_on_rank_one, 3)
    assert "embeddings.shape is (3, 9)" in str(outcomes[1])
    assert isinstance(outcomes[1], ValueError)
    for rank in (0, 2):
        assert isinstance(outcomes[rank], partialfc.DistributedError)
        assert "bad input on rank 1" in str(outcomes[rank])


def test_ranks_in_different_modes_are_told(rank_outcomes):
    for outcome in rank_outcomes(other_mode_on_rank_one, 2):
        assert isinstance(outcome, partialfc.DistributedError)
        assert "ranks [1] call the head otherwise than rank 0" in str(outcome)


def top_k_on_one_rank(asking, bad):
    head = build()
    embeddings = torch.randn(3, 9 if World.of().rank == bad else 8)
    if World.of().rank == asking:
        head.top_k(embeddings, 2)
    else:
        head(embeddings, torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("asking", [0, 1])
def test_ranks_that_call_different_methods_are_told(rank_outcomes, asking):
    called = {asking: "head.top_k", 1 - asking: "the head itself"}
    for outcome in rank_outcomes(top_k_on_one_rank, 2, asking, None):
        assert isinstance(outcome, partialfc.DistributedError)
        message = (
            f"ranks differ on what this call is: ranks [1] call {called[1]}, and rank 0 calls {called[0]}"
        )
        assert message in str(outcome)


def test_a_bad_argument_of_another_method_ends_all_ranks_too(rank_outcomes):
    outcomes = rank_outcomes(top_k_on_one_rank, 2, 0, 0)
    assert "embeddings.shape is (3, 9)" in str(outcomes[0])
    assert "ranks differ on what this call is" in str(outcomes[1])


def rank_one_leaves():
    head = build()
    head.world.barrier()  # rank 1 may be gone before rank 0 has joined
    if head.world.rank == 1:
        return
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


def test_a_rank_that_left_is_named(rank_outcomes):
    outcomes = rank_outcomes(rank_one_leaves, 2)
    assert isinstance(outcomes[0], partialfc.DistributedError)
    assert "no answer from rank 1" in str(outcomes[0])


def test_training_without_an_optimizer_is_an_error_not_a_silence():
    head = build()
    loss = head(torch.randn(3, 8, requires_grad=True), torch.tensor([1, 2, 3]))
    with pytest.raises(RuntimeError, match="this head has no optimizer: build"):
        loss.backward()


def test_a_second_optimizer_is_refused():
    head = build()
    partialfc.RowSGD(head, lr=0.1)
    with pytest.raises(ValueError, match="already has a row optimizer"):
        partialfc.RowAdamW(head, lr=0.1)
    with pytest.raises(ValueError, match="sparse_grad is True"):
        partialfc.RowSGD(build(sparse_grad=True), lr=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda head: partialfc.RowSGD(head, lr=-1.0), r"lr is -1\.0"),
        (lambda head: partialfc.RowSGD(head, lr=0.1, momentum=1.0), r"momentum is 1\.0; .* below 1"),
        (lambda head: partialfc.RowSGD(head, lr=0.1, weight_decay=float("nan")), "weight_decay is nan"),
        (lambda head: partialfc.RowSGD(head, lr=0.1, unsampled="lazy"), "unsampled is 'lazy'"),
        (lambda head: partialfc.RowSGD(head, lr="0.1"), r"lr is '0\.1'; it must be a finite number"),
        (lambda head: partialfc.RowSGD(head, lr=0.1, momentum=None), "momentum is None"),
        (lambda head: partialfc.RowSGD(head, lr=0.1, momentum_dtype="int8"), "momentum_dtype is 'int8'"),
        (lambda head: partialfc.RowAdamW(head, lr=0.1, betas=(0.9, 1.0)), r"beta2 is 1\.0"),
        (lambda head: partialfc.RowAdamW(head, lr=0.1, betas=0.9), r"betas is 0\.9; it must be two numbers"),
        (lambda head: partialfc.RowAdamW(head, lr=0.1, betas=(0.9,)), r"betas is \(0\.9,\)"),
        (lambda head: partialfc.RowAdamW(head, lr=0.1, betas=("a", 0.9)), "beta1 is 'a'"),
        (lambda head: partialfc.RowAdamW(head, lr=0.1, eps=-1e-8), "eps is -1e-08"),
    ],
)
def test_bad_optimizer_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(build())


@pytest.mark.parametrize("make", [partialfc.RowSGD, partialfc.RowAdamW])
@pytest.mark.parametrize(
    "of",
    [
        lambda head: head.parameters(),
        lambda head: head.weight,
        lambda head: [{"params": [head.weight]}],
        lambda head: torch.nn.Linear(8, 10),
        lambda head: None,
    ],
)
def test_a_row_optimizer_takes_a_head_alone(make, of):
    with pytest.raises(ValueError, match=rf"it must be the PartialFC .* as in {make.__name__}\(head, lr="):
        make(of(build()), lr=0.1)


def test_a_head_that_is_wrapped_is_told_by_what_it_is_in():
    wrapped = torch.nn.Sequential(build())
    with pytest.raises(ValueError, match="head is a Sequential; it must be the PartialFC whose centres"):
        partialfc.RowSGD(wrapped, lr=0.1)


def list_on_rank_one():
    labels = torch.tensor([1, 2, 3])
    build()(torch.randn(3, 8), labels.tolist() if World.of().rank == 1 else labels)


def test_every_rank_hears_of_one_ranks_list(rank_outcomes):
    outcomes = rank_outcomes(list_on_rank_one, 2)
    assert "labels is a list" in str(outcomes[1])
    assert isinstance(outcomes[0], partialfc.DistributedError)


def head_of_a_group_without_rank_one():
    build(process_group=torch.distributed.new_group([0]))


def test_a_process_outside_the_group_is_told(rank_outcomes):
    outcomes = rank_outcomes(head_of_a_group_without_rank_one, 2)
    assert isinstance(outcomes[1], ValueError)
    assert "ProcessGroup that this process is in" in str(outcomes[1])


def other_head_on_rank_one(changes):
    head = build(**(changes if World.of().rank == 1 else {}))
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


@pytest.mark.parametrize(
    "changes", [{"num_classes": 12}, {"margin": partialfc.ArcFace(scale=16)}, {"seed": 4}]
)
def test_ranks_with_other_heads_are_told(rank_outcomes, changes):
    for outcome in rank_outcomes(other_head_on_rank_one, 2, changes):
        assert "ranks [1] built their head otherwise than rank 0" in str(outcome)


def other_dtype_on_rank_one():
    dtype = torch.bfloat16 if World.of().rank == 1 else torch.float32
    build()(torch.randn(3, 8, dtype=dtype), torch.tensor([1, 2, 3]))


def test_ranks_with_other_embedding_dtypes_are_told(rank_outcomes):
    for outcome in rank_outcomes(other_dtype_on_rank_one, 2):
        assert "the embeddings' dtype" in str(outcome)


def test_an_8_bit_dtype_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"is torch\.float8_e5m2; .* pass embeddings\.float\(\)"):
        build()(torch.zeros(2, 8, dtype=torch.float8_e5m2), torch.zeros(2, dtype=torch.int64))


def test_float16_products_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"float16, which cannot hold the exponentials .* may be float16"):
        build(compute_dtype=torch.float16)


def test_a_scale_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"logits up to 200; in torch\.float32 they may reach 147"):
        build(margin=partialfc.ArcFace(scale=200.0))
    build(margin=partialfc.ArcFace(scale=200.0), weight_dtype=torch.float64, compute_dtype=torch.float64)
