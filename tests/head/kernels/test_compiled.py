"""A machine without a compiler."""

import os
import subprocess
import sys

WITHOUT_A_COMPILER = """
import warnings, torch, partialfc
from partialfc.head.kernels.compiled import trouble
losses = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for compiled in (True, False):
        head = partialfc.PartialFC(16, 50, margin=partialfc.ArcFace(), compile=compiled)
        optimizer = partialfc.RowSGD(head, lr=0.1)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            x = torch.randn(8, 16, generator=generator).requires_grad_()
            loss = head(x, torch.arange(8))
            loss.backward()
            optimizer.step()
        losses[compiled] = loss.item()
assert losses[True] == losses[False], losses
ours = [w for w in caught if "the head runs uncompiled" in str(w.message)]
assert len(ours) == 1, ours
assert trouble()
print(ours[0].message)
"""


def test_without_a_compiler_the_head_warns_once_and_runs_uncompiled(tmp_path):
    environment = {**os.environ, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_A_COMPILER]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "compile=False silences this" in result.stdout
