"""Checkpoints on disk: written whole or not at all, verified before they are read.

    checkpoints/<name>/BEST, LAST        each holds the name of a folder beside it
    checkpoints/<name>/<run>-<step>/     manifest.json: sha256 and size of every file
        README.md                        the model card
        config.json  model.safetensors
        query/                           architecture and tokeniser of the query encoder
        ngrams/                          the item encoder's vocabularies
        training/                        manifest.json, state.json, state.safetensors

BEST is what `load_encoder` reads; it moves when a training ends, so that an older encoder keeps
serving until then. LAST is what resuming reads. `training/` stays only where LAST points.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.files import new_folder, sha256_file, write_atomic
from omnisearch.encoders.config import Config, config_from_json, config_to_json
from omnisearch.encoders.encoder import Encoder
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

FORMAT = 1
_CARD = "README.md"


@dataclass(frozen=True)
class Parts:
    """A model with what is needed to write it down and to use it.

    Attributes:
        hub_tokeniser: the query encoder's transformers tokeniser.
        compat_spaces: space trained for → its entity type.
        facts: what the model card tells: counts, recalls, dates.
    """

    model: OmniModel
    config: Config
    vocabulary: NgramVocabulary
    hub_tokeniser: Any
    compat_spaces: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingState:
    """What resuming needs besides the weights.

    Attributes:
        values: JSON values: run, step, best so far.
        tensors: optimiser moments and sketch counts.
    """

    values: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def folder_of(workspace: Workspace, name: str) -> Path:
    """The folder of all checkpoints of a name; raises InputError for a name that is no name."""
    if not name or name.startswith(".") or Path(name).name != name:
        raise InputError(
            f"{name!r} is not a name for a checkpoint.", how="Use letters, digits and dashes."
        )
    return workspace.checkpoints / name


def pointed(base: Path, pointer: str) -> Path | None:
    """The folder that BEST or LAST names, or None where there is no such pointer."""
    try:
        target = (base / pointer).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    path = base / Path(target).name
    if not target or not path.is_dir():
        raise Corrupt(
            f"{pointer} names a checkpoint that is not there.",
            where=str(base / pointer),
            how="Train again.",
        )
    return path


def write_checkpoint(path: Path, parts: Parts, card: str, state: TrainingState) -> None:
    """Write the folder `path`; an unfinished one of the same name, that nothing names, goes."""
    if path.exists():
        shutil.rmtree(path)
    with new_folder(path) as folder:
        weights = parts.model.state_dict()
        tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        save_file(tensors, folder / "model.safetensors")
        description = {
            "format": FORMAT,
            "config": config_to_json(parts.config),
            "feature_dims": parts.model.item.feature_dims,
            "compat_dims": _compat_dims(parts.model),
            "compat_spaces": parts.compat_spaces,
            "tasks": list(parts.model.tasks),
        }
        _write_json(folder / "config.json", description)
        (folder / "query").mkdir()
        write_backbone(folder / "query", parts.model.query.backbone, parts.hub_tokeniser)
        (folder / "ngrams").mkdir()
        parts.vocabulary.write(folder / "ngrams")
        (folder / _CARD).write_text(card, "utf-8")
        write_manifest(folder)
        training = folder / "training"
        training.mkdir()
        save_file(state.tensors, training / "state.safetensors")
        _write_json(training / "state.json", state.values)
        write_manifest(training)


def _compat_dims(model: OmniModel) -> dict[str, int]:
    return {space: encoder.dim_in for space, encoder in model.compat.items()}  # type: ignore[misc]


def _write_json(path: Path, values: Any) -> None:
    path.write_bytes(orjson.dumps(values, option=orjson.OPT_INDENT_2))


def write_manifest(folder: Path) -> None:
    """`manifest.json`: sha256 and bytes of every file under `folder`."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": sha256_file(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    _write_json(folder / "manifest.json", {"format": FORMAT, "files": files})


def verify(folder: Path) -> dict[str, str]:
    """Check every file against the manifest; returns file → sha256.

    Raises:
        Corrupt: a file is missing or differs, or the manifest itself cannot be read.
    """
    how = "Put back a copy, or train again."
    try:
        manifest = orjson.loads((folder / "manifest.json").read_bytes())
        files = {str(name): dict(entry) for name, entry in manifest["files"].items()}
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(
            f"The checkpoint's manifest cannot be read ({error}).", where=str(folder), how=how
        ) from error
    if version != FORMAT:
        raise Corrupt(
            f"The checkpoint has format {version}, not {FORMAT}.",
            where=str(folder),
            how="It was written by another version. Train again, then `omnisearch index build`.",
        )
    for name, entry in files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise Corrupt("A file of the checkpoint is missing.", where=str(path), how=how)
        if path.stat().st_size != entry.get("bytes") or sha256_file(path) != entry.get("sha256"):
            raise Corrupt(
                "A file of the checkpoint is not what its manifest says.", where=str(path), how=how
            )
    return {name: str(entry["sha256"]) for name, entry in files.items()}


def load_parts(folder: Path) -> Parts:
    """The model of a verified checkpoint folder; raises Corrupt if it cannot be read."""
    try:
        description = orjson.loads((folder / "config.json").read_bytes())
        config = config_from_json(description["config"])
        vocabulary = NgramVocabulary.read(folder / "ngrams")
        backbone, hub_tokeniser = read_backbone(folder / "query")
        model = OmniModel(
            config,
            QueryEncoder(backbone, config.pooling, config.dim),
            ItemEncoder(config, len(vocabulary), description["feature_dims"]),
            description["compat_dims"],
            description["tasks"],
        )
        tensors = load_file(folder / "model.safetensors")
        for name, identity_matrix in model.state_dict().items():
            if name.endswith(".rotation"):  # older checkpoints have none
                tensors.setdefault(name, identity_matrix)
        model.load_state_dict(tensors)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise Corrupt(
            f"The checkpoint cannot be read ({error}).", where=str(folder), how="Train again."
        ) from error
    spaces = description["compat_spaces"]
    if spaces.keys() <= set(ITEM_ENTITIES):  # the first edition had entity type → space
        spaces = {space: entity for entity, space in spaces.items()}
    return Parts(model, config, vocabulary, hub_tokeniser, spaces)


def load_state(folder: Path) -> TrainingState:
    """The training state of a checkpoint folder, verified."""
    training = folder / "training"
    verify(training)
    try:
        values = orjson.loads((training / "state.json").read_bytes())
        return TrainingState(values, load_file(training / "state.safetensors"))
    except (OSError, ValueError, SafetensorError) as error:
        raise Corrupt(
            f"The training state cannot be read ({error}).",
            where=str(training),
            how="Train again without --resume.",
        ) from error


def load_encoder(workspace: Workspace, name: str = "default") -> Encoder:
    """The best encoder of the last training that ended under this name.

    Raises:
        NotReady: no training has ended yet.
        Corrupt: the files differ from their manifest.
    """
    base = folder_of(workspace, name)
    folder = pointed(base, "BEST")
    if folder is None:
        begun = (base / "LAST").exists()
        raise NotReady(
            f"The training of {name!r} has not ended." if begun else f"No encoder {name!r} yet.",
            where=str(base),
            how="Run `omnisearch train --resume`." if begun else "Run `omnisearch train`.",
        )
    return open_encoder(folder, name)


def open_encoder(folder: Path, name: str) -> Encoder:
    """The encoder of the files in `folder`; raises Corrupt if they differ from their manifest."""
    hashes = verify(folder)
    parts = load_parts(folder)
    for layer in parts.model.last_layers:
        layer.fold()
    return Encoder(
        parts.model.eval().requires_grad_(False),
        parts.config,
        NgramIndex(parts.vocabulary),
        QueryTokeniser(parts.hub_tokeniser, parts.config.max_query_tokens),
        identity(hashes),
        parts.compat_spaces,
        name=name,
        folder=folder,
    )


def identity(hashes: Mapping[str, str]) -> str:
    """16 hex digits that change when anything changes that the encoders compute from."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        if name != _CARD:
            digest.update(f"{name} {hashes[name]}\n".encode())
    return digest.hexdigest()[:16]


def publish_best(base: Path, folder: Path) -> None:
    """Make `folder` what `load_encoder` reads, then drop what is no longer named."""
    write_atomic(base / "BEST", folder.name.encode())
    prune(base, keep=set())


def prune(base: Path, keep: set[str]) -> None:
    """Remove checkpoints that neither BEST, LAST nor `keep` names, and unfinished ones."""
    named = {path.name for pointer in ("BEST", "LAST") if (path := pointed(base, pointer))}
    last = pointed(base, "LAST")
    for path in base.iterdir():
        if not path.is_dir() or path.name == "tensorboard":
            continue
        if path.name not in named | keep:
            shutil.rmtree(path)
        elif last is not None and path.name != last.name:
            shutil.rmtree(path / "training", ignore_errors=True)


def tensors_of(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    """Numpy arrays as tensors under '<prefix>:<name>'; uint32 is stored as int32 of equal bits."""
    return {
        f"{prefix}:{name}": torch.from_numpy(
            (array.view(np.int32) if array.dtype == np.uint32 else array).copy()
        )
        for name, array in arrays.items()
    }


def arrays_of(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, np.ndarray]:
    """What `tensors_of` was given."""
    found = {}
    for full_name, tensor in tensors.items():
        start, _, name = full_name.partition(":")
        if start == prefix:
            array = tensor.numpy()
            found[name] = array.view(np.uint32) if array.dtype == np.int32 else array
    return found
