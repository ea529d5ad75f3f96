"""A trained network as a file that others open: ONNX, safetensors, torch.export, a folder for Hugging Face.

May import `backbones`, `data`, `deploy`, `distributed`, `evaluation`, `serving` and `errors`; it knows no
config.
"""
