"""The same code on CUDA tensors; skipped where there is no GPU."""

import pytest
import torch

import partialfc
from partialfc.metrics.run_log import read_metrics
from tests import train_cases
from tests.processes import call
from tests.training.cases import run

pytestmark = pytest.mark.gpu


def steps(
    device: str, dtype: torch.dtype, *, compiled: bool = False
) -> tuple[list[float], torch.Tensor, torch.Tensor]:
    head = partialfc.PartialFC(
        32,
        1000,
        margin=partialfc.ArcFace(),
        sample_rate=0.2,
        weight_dtype=dtype,
        compute_dtype=dtype,
        compile=compiled,
    ).to(device)
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(20):
        generator = torch.Generator().manual_seed(step)
        embeddings = torch.randn(64, 32, generator=generator, dtype=dtype).to(device).requires_grad_()
        labels = torch.randint(-1, 1000, (64,), generator=generator)
        loss = head(embeddings, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    optimizer.flush()
    return losses, embeddings.grad.cpu(), head.weight.detach().cpu()


@pytest.mark.parametrize("compiled", [False, True])
def test_cuda_matches_the_cpu_in_float64(compiled):
    on_cpu, on_gpu = steps("cpu", torch.float64), steps("cuda", torch.float64, compiled=compiled)
    assert on_gpu[0] == pytest.approx(on_cpu[0], abs=1e-10)
    torch.testing.assert_close(on_gpu[1], on_cpu[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(on_gpu[2], on_cpu[2], atol=1e-10, rtol=0)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_never_waits_for_the_gpu(compiled):
    head = partialfc.PartialFC(
        256,
        5000,
        margin=partialfc.ArcFace(),
        sample_rate=0.1,
        weight_dtype=torch.bfloat16,
        compute_dtype=torch.bfloat16,
        compile=compiled,
    ).to("cuda")
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, momentum_dtype=torch.int8)
    embeddings = [torch.randn(64, 256, device="cuda", requires_grad=True) for _ in range(5)]
    labels = [torch.randint(0, 5000, (64,)) for _ in embeddings]
    for number, (x, y) in enumerate(zip(embeddings, labels, strict=True)):
        if number == 2:  # after compilation and the first allocations
            torch.cuda.set_sync_debug_mode("error")
        try:
            head(x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_labels_may_lie_on_the_gpu():
    head = partialfc.PartialFC(8, 10, margin=partialfc.CosFace()).to("cuda").eval()
    embeddings, labels = torch.randn(4, 8, device="cuda"), torch.tensor([1, 2, -1, 9])
    assert head(embeddings, labels).item() == head(embeddings, labels.cuda()).item()


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_a_run_trains_on_cuda_and_resumes(tmp_path, amp):
    train_cases.write_data(tmp_path)
    trained = run(train_cases.small_config(tmp_path, train={"device": "cuda", "amp": amp}))
    assert trained["finished"]
    longer = {"device": "cuda", "amp": amp, "steps": 15}
    assert run(train_cases.small_config(tmp_path, train=longer))["step"] == 15


def test_a_deterministic_run_repeats_bit_for_bit_on_cuda(tmp_path):
    """In a process of its own, because cuBLAS reads its variable when it starts."""
    curves = []
    for name in ("one", "two"):
        config = train_cases.saved_config(tmp_path, "train.device=cuda", "train.deterministic=true")
        done = call("train", config, f"run.dir={tmp_path / name}")
        assert done.returncode == 0, done.stderr
        records = read_metrics(tmp_path / name)
        curves.append([record["loss"] for record in records if record["event"] == "train"])
    assert curves[0] == curves[1]
