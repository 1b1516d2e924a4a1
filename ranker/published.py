"""Rankers on disk: JSON, in `rankers/<hash>/`, the live one in `CURRENT`.

`CURRENT` contains the hash of the manifest, and the manifest the hash of each file, so that only
models that are exactly as written are read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import (
    Kind,
    entry_of,
    manifest_of,
    pointed,
    read_manifest,
    read_verified,
    write_pointer,
)
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.ranker.features import differing_features, feature_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.training import LABELS, Rankers

RANKERS = Kind("rankers", 1, again="Run `omnisearch rank train` again.")
# The fields of a report that others read: the order decides what a search returns.
REPORT = {
    "order": str,
    "ndcg@10": {str: {str: float}},
    "ndcg@10 of labelled": {str: {str: float}},
}


def save_rankers(workspace: Workspace, rankers: Rankers) -> Path:
    """Write the rankers and make them live; returns their folder.

    A crash leaves the earlier rankers live and intact.
    """
    models: dict[str, Any] = {"l1": rankers.l1.to_json()}
    for label in LABELS:
        head = getattr(rankers.l2, label)
        if head is not None:
            models[label] = head.to_json()
    files = {f"{name}.json": orjson.dumps(model) for name, model in models.items()}
    files["report.json"] = orjson.dumps(rankers.report, option=orjson.OPT_INDENT_2)
    entries = {name: entry_of(content) for name, content in files.items()}
    files[RANKERS.manifest] = manifest_of(RANKERS, {"features": feature_names()}, entries)
    folder = workspace.rankers / _name_of(files[RANKERS.manifest])
    if not folder.exists():
        with new_folder(folder) as temporary:
            for name, content in files.items():
                (temporary / name).write_bytes(content)
    write_pointer(workspace.current_rankers, folder.name)
    return folder


def load_rankers(workspace: Workspace, name: str | None = None) -> Rankers | None:
    """The live rankers, or None if none were trained.

    Args:
        name: of other rankers, their folder in `rankers/`.

    Raises:
        Corrupt: a file is missing, was changed or cannot be read.
        NotReady: they were trained on other features than this version computes.
    """
    folder = workspace.rankers / name if name else pointed(workspace.current_rankers, RANKERS)
    if folder is None:
        return None
    manifest = read_manifest(folder, RANKERS)
    place = folder / RANKERS.manifest
    if _name_of(place.read_bytes()) != folder.name:
        raise RANKERS.corrupt("The manifest of the rankers was changed.", place)
    with reading("The manifest of the rankers", place, RANKERS.again):
        check_shape(manifest, {"features": [str]})
    differing = differing_features(manifest["features"])
    if differing:
        raise NotReady(
            f"The rankers were trained on other features than this version computes ({differing}).",
            where=str(folder),
            how=RANKERS.again,
        )
    files = set(manifest["files"])
    heads = {f"{label}.json" for label in LABELS} & files
    if not heads or files - heads != {"l1.json", "report.json"}:
        raise RANKERS.corrupt("The manifest does not list the files of rankers.", place)

    def parse(model: str, build: Callable[[Any], Any]) -> Any:
        file = f"{model}.json"
        if file not in files:
            return None
        with reading("The file of rankers", folder / file, RANKERS.again):
            value = orjson.loads(read_verified(folder, RANKERS, manifest, file))
            check_shape(value, dict)
            return build(value)

    l2 = L2(*(parse(label, Head.from_json) for label in LABELS))
    return Rankers(parse("l1", Linear.from_json), l2, parse("report", _report))


def _report(value: dict[str, Any]) -> dict[str, Any]:
    check_shape(value, REPORT)
    if value["order"] not in ("l2", "l1"):
        raise ValueError(f"order is {value['order'][:20]!r}, not l2 or l1")
    return value


def _name_of(manifest: bytes) -> str:
    return entry_of(manifest)["sha256"][:16]
