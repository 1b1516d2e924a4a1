"""The exported teacher in ONNX Runtime, without PyTorch: it grades the first results of a search.

    reranker/export.json     sha256 of every file, measurements
             tokenizer.json  word pieces, as `tokenizers` reads them
             teacher.onnx    int8, or float32 where int8 grades differently

`export_teacher` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from omnisearch.data.text.normalise import encodable, normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, read_manifest, read_verified
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.encoders.onnx.query_tower import open_session

MODEL, TOKENISER = "teacher.onnx", "tokenizer.json"
EXPORT = Kind("export of the teacher", 1, "Run `omnisearch export teacher`.", "", "export.json")
DRIFT = 0.02  # tolerated mean difference of a grade, of which the best is 1
_FACTS = {"max_tokens": int, "inputs": [str], "pairs": [[str]], "grades": [float]}


class Reranker:
    """An exported teacher. Safe to call from several threads."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Verify the files of an export and open them.

        Args:
            threads: threads per call of the model; 0 uses all cores available to this process.

        Raises:
            Corrupt: a file is missing or differs, or grades differ from those when it was made.
        """
        from tokenizers import Tokenizer

        self._folder = folder
        facts = read_manifest(folder, EXPORT)
        with reading("The export's description", folder / EXPORT.manifest, EXPORT.again):
            check_shape(facts, _FACTS)
            wanted = np.array(facts["grades"], np.float32)
            pairs = [(query, text) for query, text in facts["pairs"]]
        self._inputs: list[str] = facts["inputs"]
        content = read_verified(folder, EXPORT, facts, TOKENISER)
        with reading("The tokenizer", folder / TOKENISER, EXPORT.again):
            self._tokeniser = Tokenizer.from_buffer(content)
            self._tokeniser.enable_truncation(facts["max_tokens"], strategy="longest_first")
            self._tokeniser.enable_padding()
        self._session = open_session(read_verified(folder, EXPORT, facts, MODEL), threads, folder)
        if pairs and not np.abs(self.grades(pairs) - wanted).mean() <= DRIFT:
            raise EXPORT.corrupt("The export gives other grades than when it was made.", folder)

    def grades(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """(n,) float32 of pairs of a query and an item's text, from 0, irrelevant, to 1."""
        if not pairs:
            return np.zeros(0, np.float32)
        plain = [(encodable(normalise_query(query)), encodable(text)) for query, text in pairs]
        with reading("The export", self._folder, EXPORT.again):
            rows = self._tokeniser.encode_batch(plain)
            feeds = {
                "input_ids": np.array([row.ids for row in rows], np.int64),
                "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
                "token_type_ids": np.array([row.type_ids for row in rows], np.int64),
            }
            (logits,) = self._session.run(None, {name: feeds[name] for name in self._inputs})
            return (1 / (1 + np.exp(-logits))).astype(np.float32)


def open_reranker(workspace: Workspace, threads: int = 0) -> Reranker:
    """The exported teacher.

    Raises:
        NotReady: none is exported. Corrupt: a file is damaged.
    """
    if not workspace.reranker.is_dir():
        raise NotReady(
            "The setting `rerank` wants a teacher that re-ranks, and none is exported.",
            where=str(workspace.reranker),
            how="Run `omnisearch rank teach` and `omnisearch export teacher`, or set it to 0.",
        )
    return Reranker(workspace.reranker, threads)
