"""Networks that are no checkpoint of a run: exports, files of weights, and .onnx models of other programs.

May import `backbones`, `checkpoint`, `deploy`, `serving` and `errors`.
"""
