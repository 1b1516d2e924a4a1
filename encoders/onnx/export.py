"""Exports the query tower to ONNX, float32 and int8, and measures both before they may serve."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_manifest
from omnisearch.data.workspace.errors import InputError, OmniError
from omnisearch.data.workspace.files import new_folder
from omnisearch.encoders.encoder import Encoder
from omnisearch.encoders.onnx.query_tower import (
    EXPORT,
    FLOAT32,
    INT8,
    TOKENISER,
    OnnxQueries,
    QueryTower,
    read_facts,
)

LEAST_COSINE = 0.999  # lowest cosine of float32 and PyTorch in the sample
MOST_LOSS = 0.005  # relative loss of Recall@10, int8 against float32
_OPSET = 17
_ODD = (  # cases that a sample of real queries may lack
    *("a", "?!", "沙发 床", "диван угловой", "أريكة زاوية", "सोफ़ा", "โซฟา", "🛋️ sofa"),
    "long " * 200,
    "antidisestablishmentarianism" * 18,
)

# tower → kind of pairs → (n,) bool, which were found: see `omnisearch.evaluation.tower_recall`.
Recall = Callable[[QueryTower], Mapping[str, np.ndarray]]


def export_query_tower(
    workspace: Workspace, encoder: Encoder, sample: Sequence[str], recall: Recall | None = None
) -> dict[str, Any]:
    """Export the query tower of a checkpoint into `exports/<checkpoint>/`.

    Args:
        sample: queries on which PyTorch and the export are compared.
        recall: measures a tower on engaged pairs; None if there is nothing to measure.

    Returns:
        The contents of `export.json`.

    Raises:
        InputError: the tokeniser has no fast form.
        OmniError: the export's vectors differ from PyTorch's; nothing is written.
    """
    texts = list(dict.fromkeys([*sample, *_ODD]))
    final = workspace.export(encoder.checkpoint)
    # Readers between the removal of the old export and the new one fall back to PyTorch.
    with new_folder(final, replace=True) as folder:
        _write(folder, encoder, texts, recall)
    return read_facts(final)


def _write(folder: Path, encoder: Encoder, texts: list[str], recall: Recall | None) -> None:
    write_tokeniser(encoder.tokeniser.hub_tokeniser, folder / TOKENISER)
    write_float32(encoder.model.query, folder / FLOAT32)
    if recall:
        write_int8(folder / FLOAT32, folder / INT8)
    facts: dict[str, Any] = {
        "checkpoint": encoder.checkpoint,
        "dim": encoder.dim,
        "max_tokens": encoder.tokeniser.max_tokens,
        "pad": encoder.tokeniser.pad,
        "pooling": encoder.model.query.pooling,
        "prompt": encoder.tokeniser.prompt,
        "serves": "float32",
        "float32": {},
        "int8": {},
        "check": {},
        "sample": len(texts),
        "versions": {name: version(name) for name in ("torch", "transformers", "onnxruntime")},
    }
    write_manifest(folder, EXPORT, facts)
    wanted = encoder.queries(texts)
    whole = OnnxQueries(folder, precision="float32")
    if whole.pieces(texts) != encoder.tokeniser(texts):
        raise OmniError(
            "The exported tokenizer and the checkpoint's give different word pieces.",
            where=f"checkpoint {encoder.checkpoint}",
            how="PyTorch keeps encoding queries. Please report the backbone's name.",
        )
    checked = [*texts[:4], *_ODD[:4]]
    facts["check"] = {"texts": checked, "vectors": whole.queries(checked).tolist()}
    facts["float32"] = {"cosine": least_cosine(wanted, whole.queries(texts))}
    if not facts["float32"]["cosine"] >= LEAST_COSINE:
        raise OmniError(
            f"The exported tower differs from PyTorch (cosine {facts['float32']['cosine']:.4f}).",
            where=f"checkpoint {encoder.checkpoint}",
            how="PyTorch keeps encoding queries. Please report the backbone's name.",
        )
    facts["int8"] = judge({}, {})
    if recall:
        small = OnnxQueries(folder, precision="int8")
        facts["int8"] = judge(recall(whole), recall(small))
        facts["int8"]["cosine"] = least_cosine(wanted, small.queries(texts))
        # In the batch in which an export is checked when it is opened: int8 depends on the batch.
        facts["int8"]["checked"] = least_cosine(whole.queries(checked), small.queries(checked))
    if facts["int8"]["kept"]:
        facts["serves"] = "int8"
    else:
        (folder / INT8).unlink(missing_ok=True)
    write_manifest(folder, EXPORT, facts)


def judge(whole: Mapping[str, np.ndarray], small: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Whether int8 may serve: Recall@10 of both towers over all pairs, the loss, and the reason.

    The loss is relative: 0.005 is half a percent of float32's recall, below 0 is a gain. Its
    standard error is computed from the pairs that only one of the towers finds.
    """
    found = np.concatenate([np.zeros(0, bool), *(whole[name] for name in sorted(whole))])
    again = np.concatenate([np.zeros(0, bool), *(small[name] for name in sorted(small))])
    if not found.any():
        why = "There are no engaged pairs or no index of this checkpoint to measure it on."
        return {"kept": False, "why": why, "recall_loss": None, "pairs": len(found)}
    loss = 1 - int(again.sum()) / int(found.sum())
    kept = loss < MOST_LOSS
    return {
        "kept": kept,
        "why": "" if kept else f"It loses {loss:.2%} of Recall@10; the limit is {MOST_LOSS:.1%}.",
        "recall_loss": loss,
        "recall_loss_error": int((found != again).sum()) ** 0.5 / int(found.sum()),
        "recall_float32": float(found.mean()),
        "recall_int8": float(again.mean()),
        "pairs": len(found),
    }


def least_cosine(wanted: np.ndarray, found: np.ndarray) -> float:
    """The smallest cosine of corresponding unit rows; NaN if any is NaN."""
    return float(np.einsum("nd,nd->n", wanted, found).min())


def write_tokeniser(hub_tokeniser: Any, path: Path) -> None:
    """The fast form of a transformers tokeniser; raises InputError if it has none."""
    from tokenizers import Tokenizer

    backend = getattr(hub_tokeniser, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise InputError(
            f"{type(hub_tokeniser).__name__} has no fast form that can be exported.",
            how="PyTorch keeps encoding queries; or train on a backbone with tokenizer.json.",
        )
    own = Tokenizer.from_str(backend.to_str())  # the shared one stays unchanged
    own.no_truncation()
    own.no_padding()
    own.save(str(path))


def write_float32(
    model: torch.nn.Module,
    path: Path,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    output: str = "embedding",
) -> None:
    """A model of word pieces as ONNX: its inputs int64 (n, length), its output float32 (n, ...)."""
    model.eval()
    examples = {
        "input_ids": torch.full((2, 6), 1),
        "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2]),
        "token_type_ids": torch.tensor([[0] * 3 + [1] * 3] * 2),
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            model,
            tuple(examples[name] for name in inputs),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={name: {0: "n", 1: "length"} for name in inputs} | {output: {0: "n"}},
            opset_version=_OPSET,
            # Traced: the newer exporter needs another package and gave no benefit here.
            dynamo=False,
        )


def write_int8(float32: Path, path: Path) -> None:
    """Weights as int8 with a scale per output channel; activations are scaled at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends preprocessing, which changed nothing here
    try:
        # 7 bits: products of 8 bits overflow on processors that lack VNNI, and give other vectors.
        quantize_dynamic(
            float32, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
    finally:
        root.setLevel(level)
