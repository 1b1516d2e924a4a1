"""Warm start: initialises a training from a pretrained text encoder.

Trained from scratch, a hash-embedding item tower needs billions of pairs; most catalogues have
thousands. If items have the feature 'text' (`enrichment.text`), the query tower starts as the
encoder that made it, with a projection that preserves its cosines, and the item tower is trained
to predict the projection of each item's text vector from its n-grams and all its features, some of
them hidden, so that it also learns to do without. Joint training then starts at the quality of the
pretrained encoder, and the item tower keeps the architecture of §3.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlite_utils
import torch
import torch.nn.functional as F
from torch import Tensor

from omnisearch.data.catalogue.items import count
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.config import Config
from omnisearch.encoders.form import form_of
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.query import takes_bf16
from omnisearch.encoders.packaged import local_folder
from omnisearch.encoders.text_encoder import FEATURE, TUNED_PREFIX, text_encoder
from omnisearch.encoders.training.align import align
from omnisearch.encoders.training.chunks import (
    Hiding,
    ItemChunk,
    hidden_features,
    hide_features,
    item_chunks,
    visible_strings,
)
from omnisearch.encoders.training.dataset import Items
from omnisearch.encoders.training.optim import build_optimisers, clip_gradients, schedule, set_rates

GENTLE = 0.2  # factor on the config's rates in the joint training
GENTLER = 0.025  # the same for an encoder that was tuned to the log; it is not trained again
ALIGNED = 0.3  # factor on the config's weight_compat: these spaces start aligned
HIDDEN = 0.3  # how often an item's text vector is hidden while its tower learns to predict it
_RATES: dict[str, Any] = {"optimiser": "adamw", "lr": 1e-3, "table_lr": 4e-3}
_FAINT = 0.1  # scale of the random weights beside the pass-through ones
_CALIBRATE = 1_000
_STREAM = 11  # purpose of the random stream
_SAMPLE = 200_000  # rows of each entity type used to fit the projection


def warm_config(db: sqlite_utils.Database, config: Config) -> Config:
    """The config with the backbone of the feature 'text', if a warm start is wanted and possible.

    It is possible if items have that feature and no other backbone was named. The joint training
    then uses lower learning rates, to preserve the pretrained quality, and makes at most
    `warm_passes` passes over the pairs: more passes make the encoder forget. The pairs are those of
    the log, or the pseudo-queries, one per item, if these are more and no encoder was tuned to the
    log. Warm-up and validations are shortened with the steps.
    """
    encoder = text_encoder(db)
    if not config.warm_steps or encoder is None or config.backbone not in ("", encoder[0]):
        return replace(_with_form(config), warm_steps=0)
    tuned = encoder[0].startswith(TUNED_PREFIX)
    gentle: dict[str, Any] = {
        "lr": (GENTLER if tuned else GENTLE) * config.lr,
        "backbone_lr": 0.0 if tuned else GENTLE * config.backbone_lr,
        "table_lr": GENTLE * config.table_lr,
        "weight_compat": ALIGNED * config.weight_compat,
    }
    most = config.steps * config.batch_pairs
    pairs = _pairs_of_log(db, most)
    if not tuned:
        pairs = max(pairs, sum(count(db, entity) for entity in ITEM_ENTITIES))
    steps = min(config.steps, max(1, round(config.warm_passes * pairs / config.batch_pairs)))
    warm = replace(
        config,
        backbone=encoder[0],
        pooling=encoder[1].pooling,
        query_prompt=encoder[1].query,
        steps=steps,
        warmup_steps=config.warmup_steps * steps // config.steps,
        valid_every=max(1, config.valid_every * steps // config.steps),
    )
    return replace(warm, **gentle)


def _with_form(config: Config) -> Config:
    """The config with the pooling and the prompt of its backbone, where it names none."""
    if not config.backbone:
        return replace(config, pooling=config.pooling or "cls")
    form = form_of(local_folder(config.backbone), config.pooling or None)
    prompt = config.query_prompt or form.query
    return replace(config, pooling=form.pooling, query_prompt=prompt)


def _pairs_of_log(db: sqlite_utils.Database, most: int) -> int:
    """The number of pairs of a query and what it led to, counted up to `most`."""
    found = db.conn.execute(
        "SELECT COUNT(*) FROM (SELECT DISTINCT query, entity, item_id FROM engagements "
        "WHERE action <> 'impression' LIMIT ?)",
        [most],
    ).fetchone()
    return int(found[0])


def projection(parts: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """(dim, d) float32: the first principal directions of all rows (n, d), not centred.

    Of all linear maps to `dim` dimensions it changes the rows' dot products least, and its
    prefixes are the best maps of their size.
    """
    samples = [np.asarray(rows[:_SAMPLE]) for rows in parts]
    gram = np.sum([rows.T @ rows for rows in samples], axis=0)
    directions = np.linalg.eigh(gram)[1][:, ::-1].T[:dim]
    found = np.zeros((dim, gram.shape[0]), dtype=np.float32)
    found[: len(directions)] = directions
    return found


def warm_start(
    model: OmniModel,
    items: Items,
    config: Config,
    device: torch.device,
    progress: Progress | None = None,
) -> None:
    """Set the query tower's projection, train the item tower, and rotate both towards existing
    embeddings."""
    known = [named[FEATURE].vectors for named in items.features.values() if FEATURE in named]
    start = projection(known, config.dim)
    teacher = torch.from_numpy(start).to(device)
    with torch.no_grad():
        model.query.projection.weight.copy_(teacher)
        model.query.projection.bias.zero_()
    if config.weight_learned:
        sample = torch.from_numpy(np.array(known[0][:_CALIBRATE])).to(device)
        pass_through(model.item, teacher, sample)
        _imitate(model, items, config, teacher, progress)
    if config.weight_compat:
        rotation = torch.from_numpy(align(model, items, start)).to(device)
        for layer in model.last_layers:
            layer.rotation = rotation.clone()


def _imitate(
    model: OmniModel, items: Items, config: Config, teacher: Tensor, progress: Progress | None
) -> None:
    """Train the item tower on the projected text vectors; `teacher` is (dim, d)."""
    device = teacher.device
    rows = _with_text(items, teacher.shape[1])
    run = replace(config, **_RATES, steps=config.warm_steps, warmup_steps=config.warm_steps // 10)
    optimisers = build_optimisers(model, run)
    bf16 = takes_bf16(config.precision, device)
    for step in range(config.warm_steps):
        generator = np.random.default_rng([config.seed, _STREAM, step])
        drawn = np.unique(generator.choice(rows, size=2 * config.batch_pairs))
        taught = items.gather_one(drawn, FEATURE, teacher.shape[1])[0]
        target = F.normalize(torch.from_numpy(taught).to(device) @ teacher.T, dim=1)
        chunk = _pupil_sees(model, items, config, drawn, generator)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            found = model.item(chunk.levels.to(device), chunk.features.to(device))
        loss = found.new_zeros(())
        for size, weight in config.sizes.items():
            cosine = F.cosine_similarity(found[:, :size], target[:, :size]).mean()
            loss = loss + weight * (1 - cosine)
        model.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(model.parameters(), config.clip)
        set_rates(optimisers, schedule(step, run))
        for optimiser in optimisers:
            optimiser.step()
        if progress:
            progress(step + 1, config.warm_steps)


@torch.no_grad()
def pass_through(item: ItemEncoder, teacher: Tensor, sample: Tensor) -> None:
    """Initialise the MLP so that an item's vector is the projection of its text vector.

    A pair of hidden units holds the positive and the negative part of each coordinate, the second
    layer passes them on, and the third recombines them. Text vectors are unit length, so
    LayerNorm's mean and deviation hardly vary between items: its gain and bias undo them. A hidden
    layer of fewer than 2 x dim units passes on only the first coordinates.

    Args:
        teacher: (dim, d) the projection.
        sample: (n, d) text vectors, to estimate LayerNorm's typical mean and deviation.
    """
    layers: Any = item.mlp
    first, norm1, second, norm2, third = (layers[number] for number in (0, 2, 3, 5, 6))
    half = min(len(teacher), first.out_features // 2)
    both = slice(0, 2 * half)
    eye = torch.eye(half, device=teacher.device)
    at = item.inputs_of(FEATURE)
    for linear in (first, second):
        linear.weight[both] *= _FAINT
        linear.bias[both] = 0
    first.weight[both, at] = torch.cat((teacher[:half], -teacher[:half]))
    second.weight[both, both] += torch.eye(2 * half, device=teacher.device)
    third.weight.zero_()
    third.bias.zero_()
    third.weight[:half, both] = torch.cat((eye, -eye), dim=1)
    hidden = sample.new_zeros(len(sample), first.in_features)
    hidden[:, at] = sample / sample.square().mean().sqrt()  # scaled as in the item encoder
    for linear, norm in ((first, norm1), (second, norm2)):
        hidden = torch.relu(linear(hidden))
        norm.weight.fill_(hidden.std(1, correction=0).mean())
        norm.bias.fill_(hidden.mean())
        hidden = norm(hidden)


def _with_text(items: Items, dim: int) -> np.ndarray:
    """(n,) int64 rows of the items that have a text vector."""
    rows = np.arange(len(items))
    parts = [
        part[items.gather_one(part, FEATURE, dim)[1]]
        for part in np.array_split(rows, max(1, len(rows) // 10_000))
    ]
    return np.concatenate(parts)


def _pupil_sees(
    model: OmniModel, items: Items, config: Config, rows: np.ndarray, generator: np.random.Generator
) -> ItemChunk:
    """The items' texts and features, some of them hidden."""
    nobody = np.full(len(rows), -1)
    hiding = Hiding(1.0, 0.0, config.field_dropout, generator)
    strings = visible_strings(items, rows, nobody, hiding)
    dims = model.item.feature_dims
    features = items.gather(rows, dims)
    rates = dict.fromkeys(dims, config.feature_dropout) | {FEATURE: HIDDEN}
    hide_features(features, dims, hidden_features(len(rows), rates, generator))
    return item_chunks(items, strings, features, 0)[0]
