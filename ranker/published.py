"""Rankers on disk: JSON, in `rankers/<hash>/`, the live one in `CURRENT`.

`CURRENT` holds the hash of the manifest, the manifest the hash of each file, so nothing is parsed
before it is known to be what was written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import new_folder, write_atomic
from omnisearch.ranker.features import differing_features, feature_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.training import LABELS, Rankers

FORMAT = 1
_RETRAIN = "Run `omnisearch rank train` again."


def save_rankers(workspace: Workspace, rankers: Rankers) -> Path:
    """Write the rankers and make them the live ones; returns their folder.

    A crash leaves the earlier rankers live and whole.
    """
    models: dict[str, Any] = {"l1": rankers.l1.to_json()}
    for label in LABELS:
        head = getattr(rankers.l2, label)
        if head is not None:
            models[label] = head.to_json()
    files = {f"{name}.json": orjson.dumps(model) for name, model in models.items()}
    files["report.json"] = orjson.dumps(rankers.report, option=orjson.OPT_INDENT_2)
    manifest = orjson.dumps(
        {
            "format": FORMAT,
            "features": feature_names(),
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
    manifest = _parse(folder / "manifest.json", name, dict)
    differing = differing_features(manifest.get("features", ()))
    if manifest.get("format") != FORMAT or differing:
        raise NotReady(
            "The rankers were trained on other features than this version computes"
            f"{differing and f' ({differing})'}.",
            where=str(folder),
            how=_RETRAIN,
        )
    digests = _parse(folder / "manifest.json", name, _digests)

    def parse(model: str, build: Callable[[Any], Any]) -> Any:
        file = f"{model}.json"
        return _parse(folder / file, digests[file], build) if file in digests else None

    heads = L2(*(parse(label, Head.from_json) for label in LABELS))
    return Rankers(parse("l1", Linear.from_json), heads, parse("report", dict))


def _digests(manifest: dict[str, Any]) -> dict[str, str]:
    """Raises ValueError unless exactly the files are named that there must be."""
    digests = manifest["sha256"]
    heads = {f"{label}.json" for label in LABELS} & set(digests)
    if not heads or set(digests) - heads != {"l1.json", "report.json"}:
        raise ValueError("other files than those of rankers")
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests.values()):
        raise ValueError("hashes that are none")
    return digests


def _parse(path: Path, digest: str, build: Callable[[Any], Any]) -> Any:
    """What `build` makes of a JSON file, once its content is known to be what was written."""
    content = _read(path, digest)
    try:
        return build(orjson.loads(content))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(
            f"A file of the rankers cannot be read ({error}).", where=str(path), how=_RETRAIN
        ) from error


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
