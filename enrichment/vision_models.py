"""Loading vision models safely, and the cache of their results for each picture."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoImageProcessor

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.cache_file import cache_errors, open_cache
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import sha256_file
from omnisearch.encoders.hub import check_folder, from_files, may_be_model

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load_model(kind: Any, model: str | Path) -> tuple[Any, Any, str]:
    """A vision model for inference, its image processor, and a digest that names its weights.

    `model` is a folder as written by `save_pretrained`, or a hub name; nothing is fetched for a
    folder. Only safetensors are read, and no code of the model is run. The image processor is the
    one that needs only Pillow.

    Args:
        kind: the `transformers` class to load, such as BlipForConditionalGeneration.

    Raises:
        InputError: the folder does not exist, or has no such model.
    """
    source = str(model)
    local = Path(source).is_dir()
    if not (_HUB_NAME.fullmatch(source) or local) or not may_be_model(source):
        raise InputError(
            "There is no such model folder.",
            where=source,
            how="Name a folder, or a model of the Hugging Face hub as OWNER/NAME.",
        )
    check_folder(source)
    options = {"local_files_only": from_files(source), "trust_remote_code": False}
    try:
        processor = AutoImageProcessor.from_pretrained(source, use_fast=False, **options)
        network = kind.from_pretrained(source, use_safetensors=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"The model cannot be loaded ({str(error).splitlines()[0]}).",
            where=source,
            how="Give a folder with config.json, preprocessor_config.json and model.safetensors.",
        ) from error
    network.eval()
    if torch.cuda.is_available():
        network.to("cuda")
    return network, processor, _folder_digest(Path(source)) if local else _hub_digest(network)


def load_part(loader: Any, model: str | Path) -> Any:
    """Another part of the same model, such as its AutoTokenizer; raises InputError."""
    source = str(model)
    try:
        return loader.from_pretrained(
            source, local_files_only=from_files(source), trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The model's {loader.__name__} cannot be loaded ({str(error).splitlines()[0]}).",
            where=source,
            how="Save the tokenizer into the model's folder.",
        ) from error


def pixels(processor: Any, images: Sequence[Any], network: Any) -> torch.Tensor:
    """(n, 3, h, w) for PIL images, on the network's device and in its dtype."""
    batch = processor(images=list(images), return_tensors="pt")["pixel_values"]
    return batch.to(network.device, network.dtype)


def _folder_digest(folder: Path) -> str:
    names = sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".txt"))
    parts = "".join(f"{path.name} {sha256_file(path)}\n" for path in names)
    return hashlib.sha256(parts.encode()).hexdigest()


def _hub_digest(network: Any) -> str:
    name = f"{network.config._name_or_path}@{getattr(network.config, '_commit_hash', None)}"
    return hashlib.sha256(name.encode()).hexdigest()


class Cache:
    """A model's results by the picture's sha256: `image_cache.db` in the workspace.

    It saves computing again after a kill, in repeated runs, and for items with the same picture.
    The file may be deleted: everything in it can be computed again.
    """

    def __init__(self, workspace: Workspace, model: str) -> None:
        """Open it for the model of this digest; raises Corrupt for a damaged file."""
        self.path, self.model = workspace.image_cache, model
        self.connection = open_cache(
            self.path,
            "results (model TEXT, sha256 TEXT, value BLOB NOT NULL, PRIMARY KEY (model, sha256))",
        )

    def get(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The cached results, by the pictures' digests."""
        found = {}
        for digest in digests:
            with cache_errors(self.path):
                row = self.connection.execute(
                    "SELECT value FROM results WHERE model = ? AND sha256 = ?", [self.model, digest]
                ).fetchone()
            if row and isinstance(row[0], bytes):
                found[digest] = row[0]
        return found

    def put(self, results: dict[str, bytes]) -> None:
        """Store results; they are durable when this returns."""
        with cache_errors(self.path), self.connection:
            self.connection.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?)",
                [(self.model, digest, value) for digest, value in results.items()],
            )

    def close(self) -> None:
        self.connection.close()
