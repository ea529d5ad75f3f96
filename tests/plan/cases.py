"""Settings that the tests of the plan share: one to build and run here, one for a cluster."""

from partialfc.plan import Setting

GB = 10**9
SMALL = Setting(classes=1001, embedding=128, gpus=1, batch=16, sample_rate=0.3, device="cpu")
FACES = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)
