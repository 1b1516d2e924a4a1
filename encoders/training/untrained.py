"""A checkpoint before any training: a text encoder for queries, and its vectors for items.

The query tower is the encoder that made the items' feature 'text', with an identity as its last
layer, and the item tower hands an item's text vector through. So the cosines are the encoder's own,
and what reads a checkpoint needs not know that nothing was learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import orjson
import sqlite_utils
import torch

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_pointer, write_pointer
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import remove_folder
from omnisearch.data.workspace.locks import locked
from omnisearch.encoders.checkpoint import CHECKPOINT, Parts, write_checkpoint
from omnisearch.encoders.checkpoint_folder import folder_of
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.models.ngrams import NgramVocabulary
from omnisearch.encoders.models.pruned import pruned
from omnisearch.encoders.models.query import QueryEncoder, named_backbone
from omnisearch.encoders.text_encoder import (
    FEATURE,
    NOTE,
    check_encoder,
    encoder_folder,
    text_encoder,
)
from omnisearch.encoders.untrained import UNTRAINED

_CARD = """# OmniSearch encoders, untrained

The query encoder is {backbone} as it comes. An item's vector is that of its texts by the same
encoder. Nothing was learned from this catalogue: `omnisearch train` does that.
"""


def write_untrained(workspace: Workspace, db: sqlite_utils.Database, name: str) -> None:
    """Publish the untrained checkpoint of the encoder that made the feature 'text', if it is not
    the one that is published.

    Raises:
        NotReady: another process is training under this name.
        InputError: the encoder is not on this machine, or is another one by now.
    """
    note, best = get_meta(db, NOTE), workspace.best_checkpoint(name)
    folder = folder_of(workspace, name) / f"{UNTRAINED}{_digest(note)}"
    before = read_pointer(best, CHECKPOINT)
    if before == folder.name:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    busy = NotReady(
        "The first training is running.",
        where=str(folder.parent),
        how="Run `omnisearch index build` when it has finished.",
    )
    with locked(workspace.training_lock(name), busy):
        card = _CARD.format(backbone=note["backbone"])
        write_checkpoint(folder, _parts(workspace, db), card)
        write_pointer(best, folder.name)
        if before is not None:
            remove_folder(folder.with_name(before))


def _digest(note: dict[str, Any]) -> str:
    made_of = orjson.dumps(note, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(made_of, digest_size=4).hexdigest()


def _parts(workspace: Workspace, db: sqlite_utils.Database) -> Parts:
    found = text_encoder(db)
    assert found is not None
    name, form = found
    whole, its_own = named_backbone(encoder_folder(workspace, name), local=True)
    check_encoder(db, name, whole)
    backbone, hub_tokeniser = pruned(whole, its_own, chain([form.query], _texts(db)))
    dim: int = backbone.config.hidden_size  # type: ignore[assignment, union-attr]
    config = replace(
        preset_config("demo"),
        backbone=name,
        pooling=form.pooling,
        query_prompt=form.query,
        dim=dim,
        item_hidden=2 * dim,
        table_rows=1,
        table_dim=1,
        warm_steps=0,
    )
    vectors = {entity: open_vectors(workspace, db, FEATURE, entity) for entity in ITEM_ENTITIES}
    made_by = {
        f"{entity}/{FEATURE}": each.made_by
        for entity, each in vectors.items()
        if each is not None and each.made_by is not None
    }
    item = ItemEncoder(config, 0, {FEATURE: dim})
    model = OmniModel(config, QueryEncoder(backbone, form.pooling, dim), item, {}, [])
    with torch.no_grad():
        model.query.projection.weight.copy_(torch.eye(dim))
        model.query.projection.bias.zero_()
        _hand_through(item, dim)
    return Parts(model, config, NgramVocabulary([], [], []), hub_tokeniser, {}, made_by)


def _texts(db: sqlite_utils.Database) -> Iterator[str]:
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity):
            for item in items:
                yield from (normalise_query(text) for text in field_texts(item))


def _hand_through(item: ItemEncoder, dim: int) -> None:
    """Set the MLP's weights so that an item's vector is its feature 'text'.

    A pair of hidden units holds the positive and the negative part of each coordinate, and the last
    layer takes their difference. LayerNorm moves and scales all units alike; its bias of 1 keeps
    them above 0, so that the second ReLU changes nothing.
    """
    layers: Any = item.mlp
    eye = torch.eye(dim)
    for parameter in layers.parameters():
        parameter.zero_()
    layers[0].weight[:, item.inputs_of(FEATURE)] = torch.cat((eye, -eye))
    layers[3].weight.copy_(torch.eye(2 * dim))
    layers[6].weight.copy_(torch.cat((eye, -eye), dim=1))
    for norm in (layers[2], layers[5]):
        norm.weight.fill_(1)
        norm.bias.fill_(1)
