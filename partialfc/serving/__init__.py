"""The use of a trained network without torch: its card, its embeddings by onnxruntime, galleries of them.

No module here imports torch when it is imported; one that opens a run does so then, through `deploy`.

May import `data`, `deploy` (within a function), `files` and `errors`.
"""
