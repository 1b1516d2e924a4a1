"""The query tower in ONNX: written by `export`, served by `query_tower` without PyTorch."""
