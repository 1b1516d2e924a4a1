"""fastText, the paper's baseline (§5.4): supervised, from the words and their character n-grams."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from omnisearch.data.text.normalise import words
from omnisearch.data.workspace.progress import Progress
from omnisearch.evaluation.classification.measures import Measure, hits_at_1, in_blocks, precision

_LABEL = "__label__"
_FIXED = {"dim": 100, "bucket": 200_000, "minCount": 1, "thread": 1, "verbose": 0}


@dataclass(frozen=True)
class FastTextSettings:
    """Hyperparameters chosen on the validation split, under fastText's own names."""

    loss: str = "softmax"
    lr: float = 0.5
    epoch: int = 25
    minn: int = 3
    maxn: int = 6
    wordNgrams: int = 2


_TRIED: tuple[dict[str, Any], ...] = (
    {"minn": 2, "maxn": 5},
    {"minn": 0, "maxn": 0},
    {"loss": "ova"},
    {"wordNgrams": 1},
    {"lr": 0.1},
    {"lr": 1.0},
    {"epoch": 10},
    {"epoch": 50},
    {"epoch": 100},
)


@dataclass(frozen=True)
class Texts:
    """texts: n queries; targets: (n, m) bool; levels: each level's columns in m."""

    texts: Sequence[str]
    targets: csr_matrix
    levels: Sequence[slice]


def available() -> bool:
    """Whether a package that provides the module `fasttext` is installed (extra `classify`)."""
    return find_spec("fasttext") is not None


def choose_fasttext(
    train: Texts, valid: Texts, progress: Progress | None = None
) -> FastTextSettings:
    """The settings with the best mean precision@1 over levels, searched one setting at a time."""

    def value(settings: FastTextSettings) -> float:
        try:
            model = fit_fasttext(train, settings, 0)
        except RuntimeError:  # "Encountered NaN": the rate is too high for this data
            return -1.0
        return float(precision(measured(hits_at_1, model, valid)).mean())

    chosen = FastTextSettings()
    best = value(chosen)
    for done, change in enumerate(_TRIED, 1):
        settings = replace(chosen, **change)
        if (found := value(settings)) > best:
            best, chosen = found, settings
        if progress:
            progress(done, len(_TRIED))
    return chosen


def fit_fasttext(train: Texts, settings: FastTextSettings, seed: int) -> Any:
    """A fastText model of the training split; its labels are the node numbers."""
    import fasttext

    with tempfile.TemporaryDirectory(prefix="omnisearch-") as folder:
        path = Path(folder) / "train.txt"
        with path.open("w", encoding="utf-8") as file:
            nodes_of = np.split(train.targets.indices, train.targets.indptr[1:-1])
            for text, nodes in zip(train.texts, nodes_of, strict=True):
                names = " ".join(f"{_LABEL}{node}" for node in nodes)
                file.write(f"{names} {_line(text)}\n")
        return fasttext.train_supervised(str(path), seed=seed, **_FIXED, **asdict(settings))


def fasttext_scores(model: Any, texts: Sequence[str], nodes: int) -> np.ndarray:
    """(n, nodes) float32 logits, -inf for nodes absent from training."""
    output = model.get_output_matrix()  # (labels, dim)
    vectors = np.stack([model.get_sentence_vector(_line(text)) for text in texts])
    columns = [int(name.removeprefix(_LABEL)) for name in model.get_labels()]
    found = np.full((len(texts), nodes), -np.inf, dtype=np.float32)
    found[:, columns] = vectors @ output.T
    return found


def measured(measure: Measure, model: Any, texts: Texts) -> np.ndarray:
    """`measure` of each text, computed a few thousand at a time to bound memory."""

    def scores_of(rows: slice) -> np.ndarray:
        return fasttext_scores(model, texts.texts[rows], texts.targets.shape[1])

    return in_blocks(measure, scores_of, texts.targets, texts.levels)


def _line(text: str) -> str:
    return " ".join(words(text))
