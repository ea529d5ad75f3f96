"""Fine-tuning a trained network: which parts train and how fast, low-rank updates, and the first centres.

Plain functions on any torch.nn.Module and on a head. May import `checkpoint`, `deploy`, `distributed`, `head`
and `errors`.
"""
