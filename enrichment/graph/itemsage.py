"""ItemSage (§3.3; Baltescu et al., KDD '22): training, and embedding products.

Trained on three tasks at once, by softmax with logQ correction: a product is near the queries that
engaged it (with a small query encoder; without a log, words of its own text), near the frozen
PinSage vectors of pins that share a board or a query with it, and near other such products. The
query of a pair is hidden among its products' engaged queries. Among a product's inputs is its own
PinSage vector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import sqlite_utils
import torch
from torch import Tensor

from omnisearch.data.catalogue.pseudo_queries import pseudo_pairs
from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.catalogue.splits import feature_until, fit_note, known_window
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.hash_embedding import Levels
from omnisearch.encoders.models.ngrams import NgramVocabulary
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.enrichment.graph.config import GraphConfig
from omnisearch.enrichment.graph.cooccurrence import (
    CrossSource,
    Groups,
    PairSource,
    board_groups,
    group_edges,
    hold_out_groups,
    query_groups,
)
from omnisearch.enrichment.graph.itemsage_network import ItemSage
from omnisearch.enrichment.graph.network_inputs import Items, Source, blocks, moments, write_graph
from omnisearch.enrichment.graph.pinsage import product_vectors
from omnisearch.enrichment.graph.saved_networks import Saved, load, save
from omnisearch.enrichment.graph.training import minimise, pair_loss, steps_for
from omnisearch.enrichment.inputs import MODALITIES
from omnisearch.enrichment.vector_provenance import note_fit

NAME = "itemsage"
_QUERIES = len(MODALITIES[NAME]) - 1
# Pairs of a query and a product per step, fewer in a small catalogue; half as many random
# negatives, pairs with pins, and pairs of products.
PAIRS, FEWEST_PAIRS = 192, 64
UNASKED = 0.3  # chance that a product is shown without its engaged queries


@dataclass(frozen=True)
class Near:
    """Pairs from boards or from queries.

    Attributes:
        own: (g,) number of the group's string in the items' index, -1 for boards.
    """

    pairs: CrossSource | PairSource
    own: np.ndarray


@dataclass(frozen=True)
class Task:
    """The data that training samples from.

    Attributes:
        pairs: pairs of the query task per step.
        asked: queries and the products that they engaged.
        texts: (g,) numbers of the queries' strings in the items' index.
        known: (g, n) which products each query engaged.
        shares: (n,) log P of a product in the query task's targets.
        pins: (p, dim) the frozen PinSage vectors; `beside` pairs products with their rows.
        alike: pairs of products.
    """

    items: Items
    pairs: int
    asked: Groups
    texts: np.ndarray
    known: sp.csr_matrix
    shares: Tensor
    pins: np.ndarray
    beside: list[Near]
    alike: list[Near]


def fit_itemsage(
    workspace: Workspace,
    db: sqlite_utils.Database,
    dim: int = 256,
    seed: int = 0,
    until: int | None = None,
    progress: Progress | None = None,
) -> ItemVectors:
    """Train a network, save it, and write the feature 'itemsage': float32 (n, dim), unit rows.

    Boards and engagement count from before `until`, by default the end of training; queries that a
    data set holds out never do. The same seed gives the same vectors. An earlier 'itemsage' is
    replaced. Products without any inputs are absent; if there is nothing to learn from, nothing is
    trained or written, and an empty feature is returned.
    """
    until = feature_until(db, until)
    reads = GraphConfig.load(workspace).pinsage_of_products
    pinsage = load(workspace, "pinsage") if reads else None
    source = _source(workspace, db, pinsage, until)
    task = _task(source, open_vectors(workspace, db, "pinsage", "pin"), dim, until)
    if task is None:
        return ItemVectors(NAME, "product", [], np.zeros((0, dim), dtype=np.float32))
    vocabulary = task.items.index.vocabulary
    net = ItemSage(len(vocabulary), len(MODALITIES[NAME]), source.dims, dim, seed)
    net.tokens.standardise({name: moments(feature) for name, feature in source.features.items()})
    steps = steps_for(len(task.asked.item), task.pairs)
    minimise(net, steps, lambda rng, _: _loss(net, task, rng), seed, progress)
    until = _knows_until(db, until)
    config = {"dims": source.dims, "dim": dim, "seed": seed, "until": until, "steps": steps}
    config["pinsage"] = _name(pinsage)
    save(workspace, NAME, Saved(config, vocabulary, net.state_dict()))
    return _write(workspace, source, net, vocabulary, until)


def embed_itemsage(workspace: Workspace, db: sqlite_utils.Database) -> ItemVectors | None:
    """Write the feature 'itemsage' with the saved network; None if there is no usable one.

    A network is unusable if a continuous feature that it reads is gone or has another size, or if
    it reads PinSage vectors of products and PinSage was trained again.
    """
    saved = load(workspace, NAME)
    if saved is None:
        return None
    pinsage = load(workspace, "pinsage") if "pinsage" in saved.config["dims"] else None
    source = _source(workspace, db, pinsage, feature_until(db)).narrowed(saved.config["dims"])
    if source is None or (pinsage and _name(pinsage) != saved.config.get("pinsage")):
        return None
    until = _knows_until(db, saved.config["until"])
    return _write(workspace, source, network(saved), saved.vocabulary, until)


def network(saved: Saved) -> ItemSage:
    """The saved network, for inference; raises Corrupt."""
    config, sizes = saved.config, (len(saved.vocabulary), len(MODALITIES[NAME]))
    return saved.network(lambda: ItemSage(*sizes, config["dims"], config["dim"], config["seed"]))


def _source(
    workspace: Workspace, db: sqlite_utils.Database, pinsage: Saved | None, until: int
) -> Source:
    """The products, with PinSage vectors if there is a network that makes them."""
    source = Source.open(workspace, db, "product", NAME)
    made = product_vectors(workspace, db, pinsage, until) if pinsage else None
    return replace(source, features=source.features | {"pinsage": made}) if made else source


def _name(saved: Saved | None) -> str | None:
    """The folder of a saved network, which has another name after each training."""
    return saved.folder.name if saved and saved.folder else None


def _knows_until(db: sqlite_utils.Database, until: int) -> int:
    """Until when (latest) the inputs read the log: engaged queries, PinSage, the pairs."""
    pinsage = get_meta(db, fit_note("pinsage"))
    return max(until, get_meta(db, "engaged_until") or 0, pinsage["until"] if pinsage else 0)


def _task(source: Source, pinsage: ItemVectors | None, dim: int, until: int) -> Task | None:
    """None if there is neither a log nor text to learn from."""
    db, ids = source.db, source.ids()
    window = known_window(until)
    queries = hold_out_groups(query_groups(db, "product", ids, window))[0]
    boards = hold_out_groups(board_groups(db, "product", ids, window))[0]
    asked = queries if len(queries.item) else _pseudo(db, ids)
    if not len(asked.item):
        return None
    items, n = Items(source, asked.names), len(ids)
    ours = (queries, _strings(items, queries)), (boards, np.full(len(boards), -1))
    alike = [Near(pairs, own) for groups, own in ours if (pairs := PairSource.of(groups, n))]
    beside = []
    if pinsage is not None and pinsage.dim == dim:
        theirs = (
            query_groups(db, "pin", pinsage.ids, window),
            board_groups(db, "pin", pinsage.ids, window),
        )
        beside = [
            Near(cross, own)
            for (groups, own), other in zip(ours, theirs, strict=True)
            if (cross := CrossSource.of(groups, other, len(pinsage.ids)))
        ]
    ones = np.ones(len(asked.item), dtype=np.int8)
    share = np.bincount(asked.item, minlength=n) / len(asked.item)
    mixed = (2 * share + 1 / n) / 3
    return Task(
        items,
        min(PAIRS, max(FEWEST_PAIRS, len(asked.item) // 8)),
        asked,
        _strings(items, asked),
        sp.csr_matrix((ones, (asked.group, asked.item)), shape=(len(asked), n)),
        torch.from_numpy(np.log(mixed).astype(np.float32)),
        np.zeros((0, dim), dtype=np.float32) if pinsage is None else pinsage.vectors,
        beside,
        alike,
    )


def _strings(items: Items, queries: Groups) -> np.ndarray:
    """(g,) int64 numbers of the queries' strings in the items' index."""
    return np.array([items.index.string(name) for name in queries.names], dtype=np.int64)


def _pseudo(db: sqlite_utils.Database, ids: list[str]) -> Groups:
    """Words of products' own text instead of the queries of a log."""
    table = pseudo_pairs(db)["pseudo_product"]
    pairs = zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
    return group_edges(sorted(pairs), ids)


def _loss(net: ItemSage, task: Task, rng: np.random.Generator) -> Tensor:
    """The sum of the tasks' losses on one batch."""
    losses = [_query_loss(net, task, rng)]
    for near in task.beside:
        product, pin, group = near.pairs.draw(max(1, task.pairs // 2 // len(task.beside)), rng)
        vectors = _vectors(net, task.items, product, near.own[group], rng)
        given = torch.from_numpy(np.asarray(task.pins[pin]))
        losses.append(_paired(vectors, given, near, (product, pin, group), net.log_temperature[1]))
    for near in task.alike:
        drawn = near.pairs.draw(max(1, task.pairs // 2 // len(task.alike)), rng)
        own = np.tile(near.own[drawn[2]], 2)
        both = _vectors(net, task.items, np.concatenate(drawn[:2]), own, rng)
        first, second = both.chunk(2)
        losses.append(_paired(first, second, near, drawn, net.log_temperature[2]))
    return torch.stack(losses).sum()


def _query_loss(net: ItemSage, task: Task, rng: np.random.Generator) -> Tensor:
    """Queries against the products that they engaged, and random products."""
    edge = rng.integers(len(task.asked.item), size=task.pairs)
    group = task.asked.group[edge]
    random = rng.integers(len(task.items), size=task.pairs // 2)
    targets = np.concatenate((task.asked.item[edge], random))
    texts = task.texts[group]
    hidden = np.concatenate((texts, np.full(len(random), -1)))
    bags = task.items.index.bags(Ragged.of(texts[:, None].tolist()))
    return pair_loss(
        net.queries(Levels(bags, backward=True)),
        _vectors(net, task.items, targets, hidden, rng),
        task.shares[torch.from_numpy(targets)],
        torch.from_numpy(task.known[group][:, targets].toarray() > 0),
        net.log_temperature[0],
    )


def _paired(
    first: Tensor,
    second: Tensor,
    near: Near,
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
    log_temperature: Tensor,
) -> Tensor:
    """Loss of pairs, whose (first, second, group) numbers were `drawn`."""
    firsts, seconds, group = drawn
    masked = (seconds[:, None] == seconds) | (group[:, None] == group)
    if isinstance(near.pairs, PairSource):
        masked |= firsts[:, None] == seconds
    shares = torch.from_numpy(near.pairs.log_share[seconds])
    return pair_loss(first, second, shares, torch.from_numpy(masked), log_temperature)


def _vectors(
    net: ItemSage, items: Items, rows: np.ndarray, hidden: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """(b, dim) unit rows of products (b,), each without the engaged query `hidden` (b,)."""
    tokens, present = net.tokens(items.batch(rows, hidden))
    present = present.clone()
    present[torch.from_numpy(rng.random(len(rows)) < UNASKED), _QUERIES] = False
    return net(tokens, present)


@torch.inference_mode()
def _write(
    workspace: Workspace, source: Source, net: ItemSage, vocabulary: NgramVocabulary, until: int
) -> ItemVectors:
    """Embed all products with any inputs, and write the feature."""
    ids: list[str] = []
    parts = [np.zeros((0, net.out.out_features), dtype=np.float32)]
    hashes: list[bytes] = []
    for keys, batch, made in blocks(source, vocabulary):
        tokens, present = net.tokens(batch)
        told = present.any(dim=1)
        parts.append(net(tokens[told], present[told]).numpy())
        kept = told.nonzero().flatten().tolist()
        ids += [keys[row] for row in kept]
        hashes += [made[row] for row in kept]
    vectors = np.concatenate(parts)
    feature = write_graph(workspace, source, ids, vectors, hashes)
    note_fit(source.db, feature, until)
    return feature
