"""Exports the teacher to ONNX, int8 if its grades stay alike, to re-rank while serving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest, write_manifest
from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.files import new_folder
from omnisearch.encoders.cross_encoder import CrossEncoder, Pair
from omnisearch.encoders.onnx.export import write_float32, write_int8, write_tokeniser
from omnisearch.encoders.onnx.reranker import DRIFT, EXPORT, MODEL, TOKENISER, Reranker

_MOST_ERROR = 1e-3  # of a float32 grade
_CHECKED = 16  # pairs that are graded again whenever the export is opened


class _Logits(nn.Module):
    def __init__(self, model: nn.Module, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: Tensor) -> Tensor:
        logits: Tensor = self.model(**dict(zip(self.inputs, tensors, strict=True))).logits
        return logits[:, 0]


def export_teacher(
    workspace: Workspace, teacher: CrossEncoder, sample: Sequence[Pair]
) -> dict[str, Any]:
    """Export a teacher into `reranker/`; returns the contents of its `export.json`.

    Args:
        sample: pairs on which PyTorch and the export are compared, at least one.

    Raises:
        InputError: the tokeniser has no fast form.
        OmniError: the export's grades differ from PyTorch's; nothing is written.
    """
    with new_folder(workspace.reranker, replace=True) as folder:
        _write(folder, teacher, list(sample))
    return read_manifest(workspace.reranker, EXPORT)


def _write(folder: Path, teacher: CrossEncoder, sample: list[Pair]) -> None:
    inputs = [name for name in teacher.tokeniser.model_input_names if name != "labels"]
    write_tokeniser(teacher.tokeniser, folder / TOKENISER)
    model = _Logits(teacher.model.cpu().eval(), inputs)
    write_float32(model, folder / MODEL, inputs, "logits")
    teacher.device, teacher.bf16 = torch.device("cpu"), False  # compared with exact grades
    wanted = teacher.grades(sample)
    facts: dict[str, Any] = {
        "max_tokens": teacher.max_tokens,
        "inputs": inputs,
        "pairs": [list(pair) for pair in sample[:_CHECKED]],
        "grades": wanted[:_CHECKED].tolist(),
        "serves": "float32",
    }
    write_manifest(folder, EXPORT, facts)
    error = float(np.abs(Reranker(folder).grades(sample) - wanted).max())
    if not error <= _MOST_ERROR:
        raise OmniError(
            f"The exported teacher grades differently from PyTorch (by {error:.4f}).",
            where=str(folder),
            how="Please report the backbone's name.",
        )
    whole, small = folder / MODEL, folder / "small.onnx"
    write_int8(whole, small)
    float32 = whole.read_bytes()
    small.replace(whole)
    write_manifest(folder, EXPORT, facts | {"grades": [], "pairs": []})
    facts["int8_error"] = float(np.abs(Reranker(folder).grades(sample) - wanted).mean())
    if facts["int8_error"] <= DRIFT / 2:
        facts["serves"] = "int8"
    else:
        whole.write_bytes(float32)
    write_manifest(folder, EXPORT, facts)
