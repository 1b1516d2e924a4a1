"""A classifier in the workspace: one safetensors file with its metadata as JSON in the header.

    classifiers/<name>.safetensors

It is valid only for the checkpoint whose vectors it was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors import safe_open
from safetensors.torch import save

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.paths import check_name
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.encoders.checkpoint import Encoder, load_encoder
from omnisearch.encoders.models.fit import built_within, load_weights
from omnisearch.evaluation.classification.classifier import (
    Classifier,
    Examples,
    Settings,
    choose,
    fit,
    scores,
)
from omnisearch.evaluation.classification.labels import Labels

FORMAT = 1
_FACTS = "classifier"
_SHAPE = {
    "format": int,
    "settings": {"hidden": int, "l2": float, "epochs": int},
    "dim": int,
    "encoder": str,
    "checkpoint": str,
    "nodes": [str],
    "levels": [[int]],
    "sha256": str,
}


@dataclass(frozen=True)
class Stored:
    """A classifier with everything needed to use it.

    Attributes:
        checkpoint: `Encoder.checkpoint` of the vectors it reads; encoder: that checkpoint's name.
        nodes, levels: as in `labels.Labels`.
    """

    model: Classifier
    settings: Settings
    dim: int
    encoder: str
    checkpoint: str
    nodes: list[str]
    levels: list[slice]


@dataclass(frozen=True)
class Guess:
    """A node with its probability within its level."""

    level: int
    node: str
    share: float


def classifier_path(workspace: Workspace, name: str) -> Path:
    """The path of a classifier; raises InputError for an invalid name."""
    return workspace.classifier(check_name(name, "classifier"))


def write_classifier(workspace: Workspace, name: str, stored: Stored) -> Path:
    """Write the file atomically, replacing an older one of that name."""
    path = classifier_path(workspace, name)
    tensors = {key: value.contiguous() for key, value in stored.model.state_dict().items()}
    facts = {
        "format": FORMAT,
        "settings": asdict(stored.settings),
        "dim": stored.dim,
        "encoder": stored.encoder,
        "checkpoint": stored.checkpoint,
        "nodes": stored.nodes,
        "levels": [[level.start, level.stop] for level in stored.levels],
        "sha256": _digest(tensors),
    }
    write_atomic(path, save(tensors, {_FACTS: orjson.dumps(facts).decode()}))
    return path


def read_classifier(workspace: Workspace, name: str) -> Stored:
    """Read a classifier that `write_classifier` wrote.

    Raises:
        NotReady: no classifier has that name.
        Corrupt: the file is damaged.
    """
    path = classifier_path(workspace, name)
    if not path.is_file():
        raise NotReady(
            f"There is no classifier {name!r}.",
            where=str(path),
            how="Run `omnisearch classify train LABELS`.",
        )
    with reading("The classifier", path, "Run `omnisearch classify train LABELS` again."):
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = load_json(file.metadata()[_FACTS].encode(), _SHAPE)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if facts["format"] != FORMAT or facts["sha256"] != _digest(tensors):
            raise ValueError("its hash or format differs")
        settings = Settings(**facts["settings"])
        ends = [0, *(last for _, last in facts["levels"])]
        firsts = [first for first, _ in facts["levels"]]
        if firsts != ends[:-1] or ends != sorted(ends) or ends[-1] != len(facts["nodes"]):
            raise ValueError("its levels do not have each node once")
        with built_within(tensors):
            model = Classifier(facts["dim"], settings.hidden, len(facts["nodes"]))
        load_weights(model, tensors)
        return Stored(
            model.eval(),
            settings,
            facts["dim"],
            facts["encoder"],
            facts["checkpoint"],
            [str(node) for node in facts["nodes"]],
            [slice(first, last) for first, last in facts["levels"]],
        )


def guesses(stored: Stored, vectors: np.ndarray, k: int = 3) -> list[list[Guess]]:
    """For each row of `vectors` (n, d), the k best nodes of each level, in order of levels."""
    found = scores(stored.model, vectors, stored.levels)
    answers = []
    for row in found:
        answer = []
        for number, level in enumerate(stored.levels, 1):
            best = np.argsort(-row[level], kind="stable")[:k] + level.start
            answer += [Guess(number, stored.nodes[at], float(row[at])) for at in best]
        answers.append(answer)
    return answers


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def train_classifier(labels: Labels, encoder: Encoder, progress: Progress | None = None) -> Stored:
    """Train a classifier of all labels, with settings chosen on the validation split.

    `progress` counts the passes that choose them, and from 0 again those of the training.

    Raises:
        InputError: the training or validation split has no queries.
    """
    train, valid = labels.part("train"), labels.part("valid")
    if not len(train) or not len(valid):
        raise InputError(
            "There are too few queries to choose the classifier's settings.",
            how="Give at least a few hundred: 70% are for training and 10% for validation.",
        )
    vectors = encoder.queries(labels.queries)

    def examples(rows: np.ndarray) -> Examples:
        return Examples(vectors[rows], labels.targets[rows], labels.levels)

    settings = choose(examples(train), examples(valid), progress=progress)
    model = fit(examples(np.arange(len(vectors))), settings, seed=0, progress=progress)
    return Stored(
        model,
        settings,
        encoder.dim,
        encoder.name,
        encoder.checkpoint,
        labels.nodes,
        labels.levels,
    )


def open_classifier(workspace: Workspace, name: str) -> tuple[Stored, Encoder]:
    """A classifier and the encoder it was trained on.

    Raises:
        NotReady: there is no such classifier, or the encoder has been retrained since.
    """
    stored = read_classifier(workspace, name)
    encoder = load_encoder(workspace, stored.encoder)
    if encoder.checkpoint != stored.checkpoint:
        raise NotReady(
            f"The classifier {name!r} was trained on another checkpoint of {stored.encoder!r}.",
            where=str(classifier_path(workspace, name)),
            how="Run `omnisearch classify train LABELS` again.",
        )
    return stored, encoder
