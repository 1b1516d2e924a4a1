"""Image embeddings by any `transformers` vision model, as the continuous feature 'image' (§3.3)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils
import torch
from transformers import AutoModel

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.vector_files import unusable
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.image_jobs import HAS_PICTURES, Job, Tally, summary
from omnisearch.enrichment.inputs import hash_rows, is_current, pictures_hash, pictures_of
from omnisearch.enrichment.pictures import require_pillow
from omnisearch.enrichment.vision_models import Cache, load_model, pixels

NAME = "image"


def embed_images(
    workspace: Workspace,
    db: sqlite_utils.Database,
    model: str | Path,
    images: Path | None = None,
    overwrite: bool = False,
    *,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Add a unit row to the feature 'image' for each item that has a picture and no row yet.

    The row of an item with several pictures is the mean of those that can be read, of length 1.
    Existing rows, imported or made of the same picture, are kept unless `overwrite`, which replaces
    the whole feature; rows made of pictures that items no longer show are replaced or removed.
    Vectors are cached by the picture's sha256 and the feature is written once, at the end:
    a killed run leaves the old feature, and the next reuses the cache. Unreadable pictures are
    refused with a reason, as for captions.

    Args:
        model: folder or hub name of a vision model (ViT, DINOv2, Swin, ConvNeXt, CLIP, SigLIP ..)
            with its image processor. To add to imported rows, use the model that made them.
        images: the folder that relative `image` paths start from; URLs need none.

    Returns:
        Counts: embedded (items), computed, from_cache, refused; with refusals also reasons and
        rejects (the file).

    Raises:
        InputError: the existing rows have another dimension, or came from another model.
    """
    require_pillow()
    network, processor, digest = load_model(AutoModel, model)
    there = {} if overwrite else _rows_there(workspace, db, digest)

    def compute(batch: Sequence[Any]) -> list[bytes]:
        with torch.inference_mode():
            vectors = _pool(network, pixels(processor, batch, network)).float().cpu()
            found = torch.nn.functional.normalize(vectors, dim=-1).numpy()
        for entity, feature in there.items():
            if feature.dim != found.shape[1]:
                raise InputError(
                    f"The model has {found.shape[1]} dimensions, the existing rows have "
                    f"{feature.dim}.",
                    where=f"feature image of {entity}",
                    how="Use the model that made them, or replace them all with overwrite.",
                )
        return [row.astype("<f4").tobytes() for row in found]

    cache = Cache(workspace, digest)
    job = Job(
        workspace, db, "images", images, HAS_PICTURES, True, compute, cache, batch_size,
        skip=lambda entity, item_id, references: (
            entity in there and is_current(there[entity], item_id, pictures_hash(references))
        ),
    )  # fmt: skip
    tally = Tally()
    ids: dict[str, list[str]] = {entity: [] for entity in ITEM_ENTITIES}
    hashes: dict[str, list[bytes | None]] = {entity: [] for entity in ITEM_ENTITIES}
    dim = 0
    try:
        with tempfile.TemporaryFile(dir=workspace.root) as file:
            for batch in job.run(tally, progress):
                for entity, item_id, found in batch:
                    dim = dim or len(found[0][1]) // 4
                    if any(len(vector) != 4 * dim for _, vector in found):
                        raise Corrupt(
                            "The image cache has vectors of different sizes for one model.",
                            where=str(cache.path),
                            how="Delete it; its content is computed again.",
                        )
                    mean = np.mean([np.frombuffer(each, "<f4") for _, each in found], axis=0)
                    if unusable(mean[None]).size:
                        raise InputError(
                            f"The model gives NaN or infinity for the picture of {entity} "
                            f"{item_id!r}.",
                            where=str(model),
                            how=f"Use another model, or delete {cache.path} if it is damaged.",
                        )
                    ids[entity].append(item_id)
                    hashes[entity].append(pictures_hash([reference for reference, _ in found]))
                    row = mean if len(found) == 1 else mean / max(np.linalg.norm(mean), 1e-12)
                    file.write(row.astype("<f4").tobytes())
            file.flush()
            start = 0
            for entity, of_entity in ids.items():
                gone = _gone(db, there.get(entity), set(of_entity))
                if of_entity or gone:
                    rows = np.zeros((0, dim or there[entity].dim), dtype=np.float32)
                    if of_entity:
                        at, shape = 4 * dim * start, (len(of_entity), dim)
                        rows = np.memmap(file, "<f4", "r", offset=at, shape=shape)
                    write_vectors(
                        workspace, db, NAME, entity, of_entity, rows, replace=entity not in there,
                        drop=gone, made=hash_rows(hashes[entity]), made_by=digest,
                    )  # fmt: skip
                start += len(of_entity)
    finally:
        cache.close()
    return summary(job, tally, embedded=sum(map(len, ids.values())))


def _rows_there(
    workspace: Workspace, db: sqlite_utils.Database, digest: str
) -> dict[str, ItemVectors]:
    """The existing rows of each entity type; damaged ones are made again."""
    found = {}
    for entity in ITEM_ENTITIES:
        try:
            feature = open_vectors(workspace, db, NAME, entity)
        except Corrupt:
            continue
        if feature is None:
            continue
        if feature.made_by not in (None, digest):
            raise InputError(
                "The existing image embeddings were made by another model, in another space.",
                where=f"feature image of {entity}",
                how="Use that model, or replace them all with overwrite.",
            )
        found[entity] = feature
    return found


def _gone(db: sqlite_utils.Database, feature: ItemVectors | None, fresh: set[str]) -> set[str]:
    """The items with a row made here that no longer show its pictures, but `fresh` ones."""
    if feature is None or feature.made is None:
        return set()
    batches = read_items(db, feature.entity, columns=("image", "more_images"))
    made = {item["id"]: pictures_hash(pictures_of(item)) for batch in batches for item in batch}
    return {key for key in feature.ids if not is_current(feature, key, made.get(key))} - fresh


def _pool(network: Any, values: torch.Tensor) -> torch.Tensor:
    """(n, d): the model's own image vector, else its pooled output, else its first token."""
    if hasattr(network, "get_image_features"):
        found = network.get_image_features(pixel_values=values)
        return found if isinstance(found, torch.Tensor) else found.pooler_output
    output = network(pixel_values=values)
    pooled = getattr(output, "pooler_output", None)
    if pooled is None:
        pooled = output.last_hidden_state
        pooled = pooled[:, 0] if pooled.ndim == 3 else pooled.mean(dim=(-2, -1))
    return pooled.flatten(start_dim=1)
