"""Rankers on disk: JSON and LightGBM's text, in `rankers/<hash>/`, the live one in `CURRENT`.

`CURRENT` holds the hash of the manifest, the manifest the hash of each file, so nothing is parsed
before it is known to be what was written. No pickle.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import lightgbm
import orjson

from data.errors import Corrupt, NotReady
from data.workspace import Workspace, new_folder, write_atomic
from ranker.features import FEATURES
from ranker.l1 import Linear
from ranker.l2 import L2, Head
from ranker.train import LABELS, Rankers

FORMAT = 1
_RETRAIN = "Run `omnisearch rank train` again."


def save_rankers(workspace: Workspace, rankers: Rankers) -> Path:
    """Write the rankers and make them the live ones; returns their folder.

    A crash leaves the earlier rankers live and whole.
    """
    heads = {label: getattr(rankers.l2, label) for label in LABELS}
    heads = {label: head for label, head in heads.items() if head is not None}
    files = {
        f"{label}.txt": head.booster.model_to_string().encode() for label, head in heads.items()
    }
    files["l1.json"] = orjson.dumps(rankers.l1.to_json())
    files["report.json"] = orjson.dumps(rankers.report, option=orjson.OPT_INDENT_2)
    manifest = orjson.dumps(
        {
            "format": FORMAT,
            "features": FEATURES,
            "spread": {label: head.spread for label, head in heads.items()},
            "sha256": {name: _sha256(content) for name, content in sorted(files.items())},
        },
        option=orjson.OPT_INDENT_2,
    )
    name = _sha256(manifest)[:16]
    folder = workspace.rankers / name
    if not folder.exists():
        with new_folder(folder) as temporary:
            for file, content in (files | {"manifest.json": manifest}).items():
                (temporary / file).write_bytes(content)
    write_atomic(workspace.rankers / "CURRENT", name.encode() + b"\n")
    return folder


def load_rankers(workspace: Workspace) -> Rankers | None:
    """The live rankers, or None where none were trained.

    Raises:
        Corrupt: a file is missing, was changed or cannot be read.
        NotReady: they were trained on other features than this program computes.
    """
    pointer = workspace.rankers / "CURRENT"
    if not pointer.exists():
        return None
    name = pointer.read_text("utf-8", errors="replace").strip()
    if not re.fullmatch("[0-9a-f]{16}", name):
        raise Corrupt("The name of the live rankers is damaged.", where=str(pointer), how=_RETRAIN)
    folder = workspace.rankers / name
    manifest = orjson.loads(_read(folder / "manifest.json", name))
    if manifest["format"] != FORMAT or tuple(manifest["features"]) != FEATURES:
        raise NotReady(
            "The rankers were trained on other features than this version computes.",
            where=str(folder),
            how=_RETRAIN,
        )
    files = {file: _read(folder / file, digest) for file, digest in manifest["sha256"].items()}
    heads = {label: _head(files, label, manifest["spread"], folder) for label in LABELS}
    try:
        l1 = Linear.from_json(orjson.loads(files["l1.json"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt("L1 cannot be read.", where=str(folder / "l1.json"), how=_RETRAIN) from error
    return Rankers(
        l1, L2(heads["engagement"], heads["relevance"]), orjson.loads(files["report.json"])
    )


def _head(files: dict[str, bytes], label: str, spread: dict[str, Any], folder: Path) -> Head | None:
    if f"{label}.txt" not in files:
        return None
    booster = lightgbm.Booster(model_str=files[f"{label}.txt"].decode())
    if tuple(booster.feature_name()) != FEATURES:
        raise Corrupt(f"The {label} head has other features.", where=str(folder), how=_RETRAIN)
    return Head(booster, float(spread[label]))


def _read(path: Path, digest: str) -> bytes:
    """A file's content, once its sha256 is known to start with `digest`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Corrupt("A file of the rankers is missing.", where=str(path), how=_RETRAIN) from error
    if not _sha256(content).startswith(digest):
        raise Corrupt("A file of the rankers was changed.", where=str(path), how=_RETRAIN)
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
