"""Prepares a training: reads pairs, texts and vocabularies, and makes or loads the model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import sqlite_utils
import torch

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.log_left_out import training_left_out
from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.pseudo_queries import pseudo_pairs
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NothingToLearn, NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.checkpoint import Parts
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.ngrams import NgramIndex, NgramVocabulary
from omnisearch.encoders.models.pruned import pruned
from omnisearch.encoders.models.query import (
    QueryEncoder,
    QueryTokeniser,
    named_backbone,
    small_backbone,
)
from omnisearch.encoders.text_encoder import check_encoder, encoder_folder
from omnisearch.encoders.training.dataset import (
    Items,
    TrainingData,
    all_features,
    read_texts,
    training_data,
    vocabulary_of,
)
from omnisearch.encoders.training.validate import hold_out
from omnisearch.encoders.training.wordpiece import train_wordpiece

Features = dict[str, dict[str, ItemVectors]]


@dataclass(frozen=True)
class Prepared:
    """Input of a training.

    Attributes:
        valid: entity → validation pairs.
        pieces: word pieces of each query of the data; pad: the padding id.
        left_out: what is not learned from, and why.
    """

    parts: Parts
    data: TrainingData
    valid: dict[str, pa.Table]
    pieces: list[list[int]]
    pad: int
    train_until: int
    left_out: list[LeftOut]


def prepare(
    workspace: Workspace,
    db: sqlite_utils.Database,
    config: Config,
    saved: Parts | None,
    progress: Progress | None = None,
) -> Prepared:
    """Read the catalogue; make a new model from the config's seed, or continue a saved one."""
    split = time_split(db)
    pseudo = config.warm_steps > 0 and config.mix_pseudo > 0
    pairs = training_pairs(db, split, seed=config.seed, may_be_none=pseudo)
    tables, valid = hold_out(db, split, pairs, config)
    held_out = sum(table.num_rows for table in pairs.values())
    held_out -= sum(table.num_rows for table in tables.values())
    to_validate = LeftOut(held_out, "pairs", "the training is validated by them")
    left_out = training_left_out(db, split) + some([to_validate])
    if pseudo:
        tables |= pseudo_pairs(db, config.seed)
    texts = read_texts(db, progress)
    features = all_features(workspace, db)
    if saved is not None:
        vocabulary = saved.vocabulary
    else:
        sizes = (config.unigrams, config.bigrams, config.trigrams)
        vocabulary = vocabulary_of(texts, sizes)
    items = Items(texts, features, NgramIndex(vocabulary, 2**62, 2**62))
    data = training_data(db, items, tables)
    if not any(config.mix[name] > 0 for name in data.pairs):
        raise NothingToLearn(
            "The data sets selected for training have no pairs.",
            where=", ".join(name for name, share in config.mix.items() if share > 0),
            how="Import such engagements, or give other data sets a share.",
        )
    if saved is None:
        strings = {text for entries in texts.values() for _, item in entries for _, text in item}
        saved = _new_parts(workspace, db, config, vocabulary, data, features, sorted(strings))
    tokeniser = QueryTokeniser(saved.hub_tokeniser, config.max_query_tokens, config.query_prompt)
    pieces = tokeniser(data.queries)
    return Prepared(saved, data, valid, pieces, tokeniser.pad, split.train_until, left_out)


def _new_parts(
    workspace: Workspace,
    db: sqlite_utils.Database,
    config: Config,
    vocabulary: NgramVocabulary,
    data: TrainingData,
    features: Features,
    strings: list[str],
) -> Parts:
    torch.manual_seed(config.seed)
    if config.backbone:
        whole, its_own = named_backbone(encoder_folder(workspace, config.backbone))
        if config.warm_steps:
            check_encoder(db, config.backbone, whole)
        needed = chain([config.query_prompt], data.queries, map(normalise_query, strings))
        backbone, hub_tokeniser = pruned(whole, its_own, needed)
    else:
        hub_tokeniser = train_wordpiece([*data.queries, *strings], config.wordpieces)
        backbone = small_backbone(config, len(hub_tokeniser))
    dims = feature_dims(features)
    spaces = {
        name: space.entity
        for name, space in SPACES.items()
        if name in features[space.entity]
        and any(pairs.entity == space.entity for pairs in data.pairs.values())
    }
    if not (config.weight_learned or spaces):
        raise NotReady(
            f"No item has {' or '.join(SPACES)} vectors to train against.",
            where="item_vectors",
            how="Run `omnisearch enrich graph`, or import such vectors.",
        )
    tasks = []
    for name, pairs in data.pairs.items():
        tasks.append(name)
        tasks += [f"{name}/{space}" for space, entity in spaces.items() if entity == pairs.entity]
    item = ItemEncoder(config, len(vocabulary), dims)
    item.feature_scale.copy_(torch.from_numpy(_scales(features, dims)))
    model = OmniModel(
        config,
        QueryEncoder(backbone, config.pooling, config.dim),
        item,
        {space: dims[space] for space in spaces},
        tasks,
    )
    models = {
        f"{entity}/{name}": feature.made_by
        for entity, named in features.items()
        for name, feature in named.items()
        if feature.made_by is not None
    }
    return Parts(model, config, vocabulary, hub_tokeniser, spaces, models)


def feature_dims(features: Features) -> dict[str, int]:
    """Name → dimension over both entity types, sorted by name; raises InputError on conflict."""
    dims: dict[str, int] = {}
    for entity in ITEM_ENTITIES:
        for name, feature in features[entity].items():
            if dims.setdefault(name, feature.dim) != feature.dim:
                raise InputError(
                    f"The feature {name!r} has {dims[name]} and {feature.dim} dimensions.",
                    where="features of pins and products",
                    how="Give them different names, or import vectors of one model.",
                )
    return dict(sorted(dims.items()))


def _scales(features: Features, dims: dict[str, int]) -> np.ndarray:
    """(sum of dims,) float32: one over the root mean square of each feature's values."""
    parts = [np.zeros(0, dtype=np.float32)]
    for name, dim in dims.items():
        squares, count = 0.0, 0
        for named in features.values():
            if name in named:
                sample = named[name].vectors[:20_000]
                squares += float(np.square(sample, dtype=np.float64).sum())
                count += sample.size
        parts.append(np.full(dim, (count / squares) ** 0.5 if squares else 1.0, np.float32))
    return np.concatenate(parts)
