"""The query tower in ONNX Runtime: the export of a checkpoint, verified, without PyTorch.

    exports/<checkpoint>/export.json         sha256 of every file, measurements
                         tokenizer.json      word pieces, as `tokenizers` reads them
                         query.onnx          float32
                         query.int8.onnx     int8, if it was good enough to be kept

`export` writes it. This module imports neither PyTorch nor transformers, so that a process serving
from an export need not load them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from omnisearch.data.text.normalise import encodable, normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, read_manifest, read_verified
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.reading import check_array, check_shape, reading

FLOAT32, INT8 = "query.onnx", "query.int8.onnx"
TOKENISER = "tokenizer.json"
MANIFEST = "export.json"
EXPORT = Kind(
    "export",
    2,
    again="Run `omnisearch index build`, or `omnisearch export onnx`.",
    manifest=MANIFEST,
)
_DRIFT = 0.002  # tolerated drop of a cosine from the exporting processor to this one
_FACTS = {
    "checkpoint": str,
    "dim": int,
    "max_tokens": int,
    "pad": int,
    "prompt": str,
    "serves": str,
    "check": dict,
    "int8": dict,
}
_CHECK = {"texts": [str], "vectors": [[float]]}

logger = logging.getLogger("omnisearch.encoders")


class QueryTower(Protocol):
    """Encodes queries: `omnisearch.encoders.encoder.Encoder` or an export of it."""

    checkpoint: str
    dim: int

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray: ...


class OnnxQueries:
    """An exported query tower. Safe to call from several threads.

    Attributes:
        checkpoint: the checkpoint that was exported.
        dim: size of the vectors.
        precision: 'int8' or 'float32'.
        facts: all of `export.json`.
    """

    def __init__(self, folder: Path, threads: int = 0, precision: str = "") -> None:
        """Verify the files of an export and open them.

        Args:
            threads: threads per call of the model; 0 uses all cores available to this process.
            precision: 'int8' or 'float32'; empty uses the export's recommendation.

        Raises:
            Corrupt: a file is missing, or differs from `export.json`.
        """
        from tokenizers import Tokenizer

        self.folder = folder
        self.facts = read_facts(folder)
        self.checkpoint: str = self.facts["checkpoint"]
        self.dim: int = self.facts["dim"]
        self.precision = precision or self.facts["serves"]
        name = INT8 if self.precision == "int8" else FLOAT32
        self.max_tokens, self._pad = self.facts["max_tokens"], self.facts["pad"]
        self._prompt = self.facts["prompt"]
        content = read_verified(folder, EXPORT, self.facts, TOKENISER)
        with reading("The tokenizer", folder / TOKENISER, EXPORT.again):
            self._tokeniser = Tokenizer.from_buffer(content)
        content = read_verified(folder, EXPORT, self.facts, name)
        self._session = open_session(content, threads, folder)
        if not precision and self.precision == "int8" and not self._as_when_exported():
            logger.warning(
                "%s: int8 gives different vectors on this processor; using float32.", folder
            )
            self.precision = "float32"
            content = read_verified(folder, EXPORT, self.facts, FLOAT32)
            self._session = open_session(content, threads, folder)
        if not precision and self.precision == "float32" and not self._as_when_exported():
            raise EXPORT.corrupt("The export gives other vectors than when it was made.", folder)

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """(n, dim) float32 unit rows; texts of similar length are batched to reduce padding.

        int8 scales each batch by its largest activation, so a text's vector depends slightly on
        the others in its batch (see `docs/reference/query-embeddings.md`).
        """
        with reading("The export", self.folder, EXPORT.again):
            rows = self.pieces(texts)
            vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
            order = np.argsort([len(row) for row in rows], kind="stable")
            for start in range(0, len(order), batch_size):
                places = order[start : start + batch_size]
                ids, mask = _padded([rows[place] for place in places.tolist()], self._pad)
                feeds = {"input_ids": ids, "attention_mask": mask}
                vectors[places] = self._session.run(None, feeds)[0]
            return vectors

    def _as_when_exported(self) -> bool:
        """Whether a few texts get the exported vectors: older processors round int8 differently."""
        with reading("The export's description", self.folder / MANIFEST, EXPORT.again):
            check = self.facts["check"]
            check_shape(check, _CHECK)
            wanted = np.array(check["vectors"], np.float32)
            check_array("check", wanted, np.float32, (len(check["texts"]), self.dim))
            int8 = self.facts["int8"]
            usual = int8.get("checked", int8["cosine"]) if self.precision == "int8" else 1.0
            cosines = (self.queries(check["texts"]) * wanted).sum(axis=1)
            return bool(cosines.min() >= usual - _DRIFT)

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The word piece ids of each text, the same as `encoders.models.query.QueryTokeniser`'s."""
        plain = [encodable(f"{self._prompt}{normalise_query(text)}") for text in texts]
        if len(plain) == 1:  # no thread pool for one text
            rows = [self._tokeniser.encode(plain[0]).ids]
        else:
            rows = [found.ids for found in self._tokeniser.encode_batch_fast(plain)]
        most = self.max_tokens
        return [row if len(row) <= most else [*row[: most - 1], row[-1]] for row in rows]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, longest) int64 ids and their int64 mask."""
    lengths = np.array([len(row) for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.full(mask.shape, pad, dtype=np.int64)
    ids[mask > 0] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return ids, mask


def open_export(workspace: Workspace, checkpoint: str, threads: int = 0) -> OnnxQueries | None:
    """The export of a checkpoint; None if there is no usable one.

    A damaged export is logged as a warning and not opened; PyTorch encodes queries instead.
    """
    folder = workspace.export(checkpoint)
    if not folder.is_dir():
        return None
    try:
        tower = OnnxQueries(folder, threads)
        if tower.checkpoint != checkpoint:
            raise EXPORT.corrupt(f"The export is of the checkpoint {tower.checkpoint}.", folder)
    except Corrupt as error:
        logger.warning("%s PyTorch encodes queries.", error)
        return None
    return tower


def open_query_tower(workspace: Workspace, encoder: QueryTower, threads: int = 0) -> QueryTower:
    """The export of the encoder's checkpoint if there is one, else the encoder itself."""
    return open_export(workspace, encoder.checkpoint, threads) or encoder


def read_facts(folder: Path) -> dict[str, Any]:
    """`export.json`; raises Corrupt if its format is invalid."""
    facts = read_manifest(folder, EXPORT)
    with reading("The export's description", folder / MANIFEST, EXPORT.again):
        check_shape(facts, _FACTS)
        if facts["serves"] not in ("int8", "float32") or min(facts["dim"], facts["max_tokens"]) < 1:
            raise ValueError("`serves`, `dim` or `max_tokens` is out of range")
    return facts


def open_session(content: bytes, threads: int, folder: Path) -> Any:
    """An ONNX Runtime session on the CPU; raises Corrupt if the model cannot be opened."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Threads that spin while waiting would take cores from the server's other threads.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    with reading("The export", folder, EXPORT.again):
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
