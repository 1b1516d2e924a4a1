"""The folder of a checkpoint, read without PyTorch: what it is, and whether it is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, pointed, verified
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.paths import check_name
from omnisearch.data.workspace.reading import check_shape, load_json

CHECKPOINT = Kind(
    "checkpoint",
    1,
    again="Run `omnisearch train`, then `omnisearch index build`.",
    mend="Restore a copy, or train again.",
    apart=("training",),
)
CARD = "README.md"
_DESCRIPTION = {
    "config": dict,
    "feature_dims": {str: int},
    "compat_dims": {str: int},
    "compat_spaces": {str: str},
    "tasks": [str],
}


def folder_of(workspace: Workspace, name: str) -> Path:
    """The folder of all checkpoints of a name; raises InputError for an invalid name."""
    return workspace.checkpoints / check_name(name, "checkpoint")


def name_at(run: str, step: int) -> str:
    """The name of a training's checkpoint at a step."""
    return f"{run}-{step:07d}"


def nothing_learned(folder: Path) -> str:
    """A sentence if a training's best checkpoint is that of its start, else an empty string."""
    if not folder.name.endswith(name_at("", 0)):
        return ""
    return (
        "No step found more on the held-out pairs than the start, so the encoder is as it began; "
        "with little data that is usual."
    )


def best_folder(workspace: Workspace, name: str) -> Path:
    """The folder of the best checkpoint of the last finished training of this name.

    Raises:
        NotReady: no training has finished yet.
        Corrupt: the pointer is damaged.
    """
    base = folder_of(workspace, name)
    folder = pointed(workspace.best_checkpoint(name), CHECKPOINT)
    if folder is None:
        begun = workspace.last_checkpoint(name).exists()
        command = f"omnisearch train{'' if name == 'default' else f' --name {name}'}"
        raise NotReady(
            f"The training of {name!r} has not finished." if begun else f"No encoder {name!r} yet.",
            where=str(base),
            how=f"Run `{command}{' --resume' if begun else ''}`.",
        )
    return folder


def verify(folder: Path) -> dict[str, str]:
    """Check every file of a checkpoint against its manifest; returns file → sha256.

    Raises:
        Corrupt: a file is missing or differs, or the manifest itself cannot be read.
    """
    files = verified(folder, CHECKPOINT)["files"]
    return {name: str(entry["sha256"]) for name, entry in files.items()}


def identity(hashes: Mapping[str, str]) -> str:
    """16 hex digits that change when any input of the encoders' computation changes."""
    digest = hashlib.sha256()
    for name in sorted(hashes):
        if name != CARD:
            digest.update(f"{name} {hashes[name]}\n".encode())
    return digest.hexdigest()[:16]


def read_description(folder: Path) -> dict[str, Any]:
    """What `config.json` says of a checkpoint; raises ValueError if it cannot be right."""
    description = load_json((folder / "config.json").read_bytes(), _DESCRIPTION)
    spaces = description["compat_spaces"]
    if spaces.keys() <= set(ITEM_ENTITIES):  # older checkpoints have entity type → space
        spaces = {space: entity for entity, space in spaces.items()}
    if spaces.keys() - description["compat_dims"].keys() or set(spaces.values()) - set(
        ITEM_ENTITIES
    ):
        raise ValueError("its compatibility spaces are unknown")
    models = description.setdefault("feature_models", {})
    check_shape(models, {str: str})
    return description | {"compat_spaces": spaces}
