"""Checkpoints on disk: written atomically, verified before they are read.

    checkpoints/<name>/BEST, LAST        each holds the name of a folder beside it
    checkpoints/<name>/<run>-<step>/     manifest.json: sha256 and size of every file
        README.md                        the model card
        config.json  model.safetensors
        query/                           architecture and tokeniser of the query encoder
        ngrams/                          the item encoder's vocabularies
        training/                        manifest.json, state.json, state.safetensors

`load_encoder` reads BEST, which moves when a training ends, so that the older encoder serves until
then. Resuming reads LAST. Only the checkpoint of LAST keeps `training/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save_file

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import (
    Kind,
    pointed,
    sweep,
    verified,
    write_manifest,
    write_pointer,
)
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.encoders.checkpoint_folder import (
    CARD,
    CHECKPOINT,
    best_folder,
    identity,
    read_description,
    verify,
)
from omnisearch.encoders.config import Config, config_from_json, config_to_json
from omnisearch.encoders.encoder import Encoder
from omnisearch.encoders.models.fit import built_within, load_weights
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary
from omnisearch.encoders.models.query import (
    QueryEncoder,
    QueryTokeniser,
    read_backbone,
    write_backbone,
)

__all__ = ["Encoder", "Parts", "load_encoder", "load_parts"]

TRAINING = Kind("training state", 1, again="Train again without --resume.")
_STATE = {
    "run": str,
    "fingerprint": str,
    "step": int,
    "best": float,
    "best_folder": str,
    "since_best": int,
    "recalls": {str: float},
    "history": [dict],
}


@dataclass(frozen=True)
class Parts:
    """A model with everything needed to save and use it.

    Attributes:
        hub_tokeniser: the query encoder's transformers tokeniser.
        compat_spaces: trained compatibility space → its entity type.
        feature_models: '<entity>/<feature>' → the model that made these vectors; imported ones are
            left out.
        facts: contents of the model card: counts, recalls, dates.
    """

    model: OmniModel
    config: Config
    vocabulary: NgramVocabulary
    hub_tokeniser: Any
    compat_spaces: dict[str, str]
    feature_models: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingState:
    """The training state needed to resume, besides the weights.

    Attributes:
        values: JSON values: run, step, best so far.
        tensors: optimiser moments and sketch counts.
    """

    values: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def write_checkpoint(
    path: Path,
    parts: Parts,
    card: str,
    state: TrainingState | None = None,
    learned_from: dict[str, Any] | None = None,
) -> None:
    """Write the folder `path`, replacing one of that name that no pointer refers to.

    Without a state, training cannot be resumed from it. The manifest keeps `learned_from`.
    """
    with new_folder(path, replace=True) as folder:
        weights = parts.model.state_dict()
        tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        save_file(tensors, folder / "model.safetensors")
        description = {
            "format": CHECKPOINT.format,
            "config": config_to_json(parts.config),
            "feature_dims": parts.model.item.feature_dims,
            "compat_dims": _compat_dims(parts.model),
            "compat_spaces": parts.compat_spaces,
            "feature_models": parts.feature_models,
            "tasks": list(parts.model.tasks),
        }
        _write_json(folder / "config.json", description)
        (folder / "query").mkdir()
        write_backbone(folder / "query", parts.model.query.backbone, parts.hub_tokeniser)
        (folder / "ngrams").mkdir()
        parts.vocabulary.write(folder / "ngrams")
        (folder / CARD).write_text(card, "utf-8")
        write_manifest(folder, CHECKPOINT, {"learned_from": learned_from})
        if state is None:
            return
        training = folder / "training"
        training.mkdir()
        save_file(state.tensors, training / "state.safetensors")
        _write_json(training / "state.json", state.values)
        write_manifest(training, TRAINING)


def _compat_dims(model: OmniModel) -> dict[str, int]:
    return {space: encoder.dim_in for space, encoder in model.compat.items()}  # type: ignore[misc]


def _write_json(path: Path, values: Any) -> None:
    path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))


def load_parts(folder: Path) -> Parts:
    """The model of a verified checkpoint folder; raises Corrupt if it cannot be read."""
    with reading("The checkpoint", folder, CHECKPOINT.mend):
        description = read_description(folder)
        config = config_from_json(description["config"])
        vocabulary = NgramVocabulary.read(folder / "ngrams")
        tensors = load_file(folder / "model.safetensors")
        with built_within(tensors):
            backbone, hub_tokeniser = read_backbone(folder / "query")
            model = OmniModel(
                config,
                QueryEncoder(backbone, config.pooling, config.dim),
                ItemEncoder(config, len(vocabulary), description["feature_dims"]),
                description["compat_dims"],
                description["tasks"],
            )
        positions = getattr(backbone.config, "max_position_embeddings", config.max_query_tokens)
        if config.max_query_tokens > positions:
            raise ValueError(f"queries of {config.max_query_tokens} word pieces are too long")
        for name, identity_matrix in model.state_dict().items():
            if name.endswith(".rotation"):  # absent from older checkpoints
                tensors.setdefault(name, identity_matrix)
        load_weights(model, tensors)
        spaces, models = description["compat_spaces"], description["feature_models"]
        if spaces.keys() - model.compat.keys():
            raise ValueError("its compatibility spaces are unknown")
        return Parts(model, config, vocabulary, hub_tokeniser, spaces, models)


def load_state(folder: Path) -> TrainingState:
    """The training state of a checkpoint folder, verified."""
    training = folder / "training"
    verified(training, TRAINING)
    with reading("The training state", training, TRAINING.again):
        values = load_json((training / "state.json").read_bytes(), _STATE)
        return TrainingState(values, load_file(training / "state.safetensors"))


def load_encoder(workspace: Workspace, name: str = "default") -> Encoder:
    """The best encoder of the last finished training of this name.

    Raises:
        NotReady: no training has finished yet.
        Corrupt: the files differ from their manifest.
    """
    return open_encoder(best_folder(workspace, name), name)


def open_encoder(folder: Path, name: str) -> Encoder:
    """The encoder of the files in `folder`; raises Corrupt if they differ from their manifest."""
    hashes = verify(folder)
    parts = load_parts(folder)
    for layer in parts.model.last_layers:
        layer.fold()
    with reading("The checkpoint", folder, CHECKPOINT.mend):
        encoder = Encoder(
            parts.model.eval().requires_grad_(False),
            parts.config,
            NgramIndex(parts.vocabulary),
            QueryTokeniser(
                parts.hub_tokeniser, parts.config.max_query_tokens, parts.config.query_prompt
            ),
            identity(hashes),
            parts.compat_spaces,
            parts.feature_models,
            name=name,
            folder=folder,
        )
        if not np.isfinite(encoder.queries(["a query"])).all():
            raise ValueError("a query's vector is not finite")
        return encoder


def publish_best(workspace: Workspace, name: str, folder: Path) -> None:
    """Point BEST, which `load_encoder` reads, to `folder`, then remove unreferenced checkpoints."""
    write_pointer(workspace.best_checkpoint(name), folder.name)
    prune(workspace, name)


def prune(workspace: Workspace, name: str, keep: Collection[str] = ()) -> None:
    """Remove unfinished checkpoints, and those not referenced by BEST, LAST or `keep`."""
    last = pointed(workspace.last_checkpoint(name), CHECKPOINT)
    found = [last, pointed(workspace.best_checkpoint(name), CHECKPOINT)]
    named = {*keep, *(path.name for path in found if path)}
    sweep(workspace.checkpoints / name, {*named, workspace.tensorboard(name).name})
    for folder_name in named - {last.name} if last else ():
        training = workspace.checkpoints / name / folder_name / "training"
        shutil.rmtree(training, ignore_errors=True)


def tensors_of(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    """Numpy arrays as tensors named '<prefix>:<name>'; uint32 is stored as int32 of equal bits."""
    return {
        f"{prefix}:{name}": torch.from_numpy(
            (array.view(np.int32) if array.dtype == np.uint32 else array).copy()
        )
        for name, array in arrays.items()
    }


def arrays_of(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, np.ndarray]:
    """The inverse of `tensors_of`."""
    found = {}
    for full_name, tensor in tensors.items():
        start, _, name = full_name.partition(":")
        if start == prefix:
            array = tensor.numpy()
            found[name] = array.view(np.uint32) if array.dtype == np.int32 else array
    return found
