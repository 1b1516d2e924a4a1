"""The query tower as ONNX: written by `export`, served by `query_tower` without PyTorch."""
