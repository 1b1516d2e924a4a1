"""The trained graph networks on disk, each under `graph/<name>/` of the workspace.

    CURRENT           the name of the folder beside it that is read
    <run>/            manifest.json, config.json, model.safetensors, ngrams/

A network is written into a new folder and CURRENT is replaced by a rename; a process killed while
writing leaves the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

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
from omnisearch.encoders.models.fit import built_within, load_weights
from omnisearch.encoders.models.ngrams import NgramVocabulary

NETWORK = Kind("graph network", 1, again="Run `omnisearch enrich graph --again`.")
_CONFIG = {"dims": {str: int}, "dim": int, "seed": int, "until": int}

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Saved:
    """A trained network's parts.

    Attributes:
        config: dims of its features, dim, seed, until (exclusive bound of its training data), and
            figures of its training.
        folder: where it was read.
    """

    config: dict[str, Any]
    vocabulary: NgramVocabulary
    tensors: dict[str, Tensor]

    folder: Path | None = None

    def network(self, build: Callable[[], Net]) -> Net:
        """The network that `build` makes with these weights, for inference.

        Raises:
            Corrupt: they do not fit.
        """
        with reading("The graph network", self.folder or Path(), NETWORK.again):
            with built_within(self.tensors):
                net = build()
            load_weights(net, self.tensors)
            return net.eval().requires_grad_(False)


def save(workspace: Workspace, name: str, saved: Saved) -> None:
    """Write a network and make it the one that `load` reads; then remove the old one."""
    pointer = workspace.current_network(name)
    final = pointer.with_name(uuid4().hex[:12])
    with new_folder(final) as folder:
        save_file(
            {key: tensor.contiguous() for key, tensor in saved.tensors.items()},
            folder / "model.safetensors",
        )
        (folder / "config.json").write_bytes(orjson.dumps(saved.config, option=orjson.OPT_INDENT_2))
        (folder / "ngrams").mkdir()
        saved.vocabulary.write(folder / "ngrams")
        write_manifest(folder, NETWORK)
    write_pointer(pointer, final.name)
    sweep(pointer.parent, keep={final.name})


def load(workspace: Workspace, name: str) -> Saved | None:
    """The network saved last, or None; raises Corrupt if its files differ from the manifest."""
    folder = pointed(workspace.current_network(name), NETWORK)
    return None if folder is None else read(folder)


def read(folder: Path) -> Saved:
    """The network of a folder."""
    verified(folder, NETWORK)
    with reading("The graph network", folder, NETWORK.again):
        return Saved(
            load_json((folder / "config.json").read_bytes(), _CONFIG),
            NgramVocabulary.read(folder / "ngrams"),
            load_file(folder / "model.safetensors"),
            folder,
        )
