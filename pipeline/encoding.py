"""`omnisearch encode`: the vectors of a data set's items and queries, bucket by bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.dataset.layout import TABLES
from omnisearch.data.dataset.manifest import MANIFEST, Manifest, read_manifest
from omnisearch.data.dataset.place import Place, using
from omnisearch.data.dataset.tables import read_table
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, manifest_of
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.leftovers import remove_leftovers_in
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.indexer.encoding import ItemsAndQueries, check_feature
from omnisearch.pipeline.encoded_file import ENCODED, Task
from omnisearch.pipeline.encoding_runners import RUNNERS

_VECTORS = Kind("encoded data set", 1, again="Run `omnisearch encode` again.")
_HOLDS = "vectors"
_OURS = re.compile(rf"entity=[a-z]+/bucket=\d{{3}}/{re.escape(ENCODED)}")


@dataclass
class Encoded:
    """What `encode_dataset` did: files, how many of them were encoded now, and rows by entity."""

    checkpoint: str
    files: int = 0
    encoded: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def encode_dataset(
    workspace: Workspace,
    source: Place,
    target: Place,
    checkpoint: str = "default",
    runner: str = "local",
    progress: Progress | None = None,
) -> Encoded:
    """Encode the pins, products and queries of a data set with a checkpoint of a workspace.

    Files whose content has not changed since an earlier run are kept. `manifest.json` is written
    last: without it the vectors are not complete. A run that was stopped is continued.

    Args:
        target: where the vectors go, a place of its own.
        runner: one of RUNNERS.
        progress: called with (files done, files in all).

    Raises:
        InputError: there is no data set, its vectors are not those the encoder was trained with,
            or the target holds something else.
        NotReady: there is no trained encoder.
        Corrupt: the data set or the checkpoint is damaged.
        Unavailable: a place cannot be used, or workers are killed again and again.
        MissingExtra: Ray is not installed.
    """
    with using(source):
        manifest = read_manifest(source)
    encoder = load_encoder(workspace, checkpoint)
    assert encoder.folder is not None
    _check_features(encoder, source, manifest)
    _remove_leftovers(target)
    with using(target):
        known = _known(target)
    hashes = {name: entry["sha256"] for name, entry in manifest.files.items()}
    tasks = []
    for folder in _folders(manifest):
        files = {name: digest for name, digest in hashes.items() if name.startswith(f"{folder}/")}
        earlier = known.get(f"{folder}/{ENCODED}")
        tasks.append(
            Task(
                *(source.url, target.url, folder, files),
                *(encoder.folder.absolute(), encoder.checkpoint, earlier),
            )
        )
    done = Encoded(encoder.checkpoint, rows=dict.fromkeys((*ITEM_ENTITIES, "query"), 0))
    entries: dict[str, dict[str, Any]] = {}
    for task, found in RUNNERS[runner](tasks):
        entries[f"{task.folder}/{ENCODED}"] = found.entry
        done.files += 1
        done.encoded += found.encoded
        done.rows[task.entity] += found.rows
        if progress is not None:
            progress(done.files, len(tasks))
    _remove_leftovers(target)  # of workers that were killed meanwhile
    with using(target):
        for name in target.names():
            if _OURS.fullmatch(name) and name not in entries:  # of a bucket that is no more
                target.remove(name)
        facts = {"holds": _HOLDS, "checkpoint": encoder.checkpoint, "dim": encoder.dim}
        target.write(MANIFEST, manifest_of(_VECTORS, facts | {"rows": done.rows}, entries))
    return done


def _remove_leftovers(target: Place) -> None:
    if target.folder is not None:
        remove_leftovers_in(*target.folder.glob("entity=*"))


def _folders(manifest: Manifest) -> list[str]:
    """The buckets that have items or queries, the largest first: no worker is left with it."""
    tables = tuple(f"/{table_of(entity)}.parquet" for entity in (*ITEM_ENTITIES, "query"))
    found = [name for name in manifest.files if name.endswith(tables)]
    found.sort(key=lambda name: (-manifest.files[name]["bytes"], name))
    return [name.rpartition("/")[0] for name in found]


def _check_features(encoder: ItemsAndQueries, source: Place, manifest: Manifest) -> None:
    name = "item_vectors.parquet"
    if name not in manifest.files:
        return
    digests = {name: manifest.files[name]["sha256"]}
    for row in read_table(source, digests, name, TABLES["item_vectors"].schema).to_pylist():
        if row["name"] in encoder.feature_dims and row["entity"] in ITEM_ENTITIES:
            check_feature(encoder, row["entity"], row["name"], row["dim"], row["made_by"])


def _known(target: Place) -> dict[str, str]:
    """File → sha256 by the manifest of an earlier run, which is removed: it is no longer true.

    Raises InputError if the place holds something else.
    """
    content = target.read(MANIFEST)
    if content is None:
        strange = next((name for name in target.names() if not _OURS.fullmatch(name)), None)
        if strange is None:
            return {}
        raise _not_ours(target, strange)
    try:
        said = orjson.loads(content)
        if said["holds"] != _HOLDS:
            raise ValueError
        known = {str(name): str(entry["sha256"]) for name, entry in said["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _not_ours(target, MANIFEST) from error
    target.remove(MANIFEST)
    return known


def _not_ours(target: Place, name: str) -> InputError:
    return InputError(
        f"The place holds something else, such as {name}.",
        where=target.url,
        how="Name a place of its own for the vectors.",
    )
