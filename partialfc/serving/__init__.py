"""The use of a trained network without torch: its card, its embeddings by onnxruntime, galleries of them.

No module here imports torch when it is imported. One that opens a run does so then, within its functions.

May import `data`, `files` and `errors`; within functions `distributed`, `evaluation`, and `trained`, the door
by which a run is opened.
"""
