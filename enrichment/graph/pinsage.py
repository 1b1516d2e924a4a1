"""PinSage (§3.3; Ying et al., KDD '18): training, and embedding all pins.

Trained on pairs of pins that share a board and pairs that one query engaged, half and half, by
in-batch softmax with logQ correction and uniform random negatives. A pair's pins are hidden from
each other's neighbourhoods, so that the input does not reveal that they share a board.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlite_utils
import torch
from torch import Tensor

from omnisearch.data.catalogue.splits import feature_until, known_window
from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.ngrams import NgramVocabulary
from omnisearch.enrichment.graph.cooccurrence import (
    PairSource,
    board_groups,
    hold_out_groups,
    query_groups,
)
from omnisearch.enrichment.graph.network_inputs import Items, Source, blocks, moments, write_graph
from omnisearch.enrichment.graph.pinsage_network import HIDDEN, PinSage, pool
from omnisearch.enrichment.graph.saved_networks import Saved, load, save
from omnisearch.enrichment.graph.training import minimise, pair_loss, steps_for
from omnisearch.enrichment.graph.walks import Neighbours, neighbourhoods, pin_board_graph
from omnisearch.enrichment.vector_provenance import note_fit

NAME = "pinsage"
# Pairs per step, fewer in a small catalogue; and half as many random negatives.
PAIRS, FEWEST_PAIRS = 512, 64
SOME = 4  # neighbours sampled for each pin of a batch
ALONE = 0.1  # chance that a pin is shown without its neighbours
_BLOCK = 8192


@dataclass(frozen=True)
class Task:
    """The data that training samples from.

    Attributes:
        pairs: pairs per step, of all sources together.
        shares: (n,) log P of a pin in a step's targets.
    """

    items: Items
    neighbours: Neighbours
    sources: list[PairSource]
    pairs: int
    shares: Tensor


def fit_pinsage(
    workspace: Workspace,
    db: sqlite_utils.Database,
    dim: int = 256,
    seed: int = 0,
    until: int | None = None,
    progress: Progress | None = None,
) -> ItemVectors:
    """Train a network, save it, and write the feature 'pinsage': float32 (n, dim), unit rows.

    Boards and engagement count from before `until`, by default the end of training; queries that a
    data set holds out never do. The same seed gives the same vectors. An earlier 'pinsage' is
    replaced. If no two pins share a board or a query, nothing is trained or written, and an empty
    feature is returned.
    """
    until = feature_until(db, until)
    source = Source.open(workspace, db, "pin", NAME)
    task = _task(source, until, seed)
    if task is None:
        return ItemVectors(NAME, "pin", [], np.zeros((0, dim), dtype=np.float32))
    vocabulary = task.items.index.vocabulary
    net = PinSage(len(vocabulary), source.dims, dim, seed)
    net.tokens.standardise({name: moments(feature) for name, feature in source.features.items()})
    edges = sum(len(pairs.groups.item) for pairs in task.sources)
    steps = steps_for(edges, task.pairs)
    minimise(net, steps, lambda rng: _loss(net, task, rng), seed, progress)
    config = {"dims": source.dims, "dim": dim, "seed": seed, "until": until, "steps": steps}
    save(workspace, NAME, Saved(config, vocabulary, net.state_dict()))
    return _write(workspace, source, net, vocabulary, until)


def embed_pinsage(workspace: Workspace, db: sqlite_utils.Database) -> ItemVectors | None:
    """Write the feature 'pinsage' with the saved network; None if there is no usable one.

    A network is unusable if a continuous feature that it reads is gone or has another size.
    """
    saved = load(workspace, NAME)
    if saved is None:
        return None
    source = Source.open(workspace, db, "pin", NAME).narrowed(saved.config["dims"])
    if source is None:
        return None
    config = saved.config
    until = max(feature_until(db), config["until"])
    net = network(saved)
    return _write(workspace, source, net, saved.vocabulary, until)


def network(saved: Saved) -> PinSage:
    """The saved network, for inference; raises Corrupt."""
    config, words = saved.config, len(saved.vocabulary)
    return saved.network(lambda: PinSage(words, config["dims"], config["dim"], config["seed"]))


def _task(source: Source, until: int, seed: int) -> Task | None:
    """None if there are no pairs to learn from."""
    items = Items(source)
    db, ids = source.db, items.ids
    window = known_window(until)
    groups = board_groups(db, "pin", ids, window), query_groups(db, "pin", ids, window)
    found = [PairSource.of(hold_out_groups(kind)[0], len(items)) for kind in groups]
    sources = [pairs for pairs in found if pairs is not None]
    if not sources:
        return None
    neighbours = neighbourhoods(pin_board_graph(db, ids, until), ids, seed=seed)
    edges = sum(len(pairs.groups.item) for pairs in sources)
    count = min(PAIRS, max(FEWEST_PAIRS, edges // 8))
    paired = sum(np.exp(pairs.log_share) for pairs in sources) / len(sources)
    shares = torch.from_numpy(np.log((2 * paired + 1 / len(items)) / 3).astype(np.float32))
    return Task(items, neighbours, sources, count, shares)


def _loss(net: PinSage, task: Task, rng: np.random.Generator) -> Tensor:
    """The loss of one batch: pairs of each source, and random pins."""
    each = task.pairs // len(task.sources)
    drawn = [pairs.draw(each, rng) for pairs in task.sources]
    first, second = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    group = np.concatenate([pair[2] * len(drawn) + at for at, pair in enumerate(drawn)])
    random = rng.integers(len(task.items), size=len(first) // 2)
    targets = np.concatenate((second, random))
    vectors = _vectors(
        net,
        task,
        np.concatenate((first, targets)),
        np.concatenate((second, first, random)),
        rng,
    )
    masked = (first[:, None] == targets) | (second[:, None] == targets)
    masked[:, : len(group)] |= group[:, None] == group
    return pair_loss(
        vectors[: len(first)],
        vectors[len(first) :],
        task.shares[torch.from_numpy(targets)],
        torch.from_numpy(masked),
        net.log_temperature,
    )


def _vectors(
    net: PinSage, task: Task, rows: np.ndarray, hidden: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """(b, dim) unit rows of pins (b,), each without the pin `hidden` (b,) among its neighbours."""
    near = task.neighbours.drawn(rows, SOME, rng)
    weights = np.where(near.rows == hidden[:, None], 0.0, near.weights)
    weights[rng.random(len(rows)) < ALONE] = 0.0
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    nodes = np.unique(np.concatenate((rows, near.rows[weights > 0])))
    place = np.zeros(len(task.items), dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    selves = net.selves(net.tokens(task.items.batch(nodes))[0])
    pooled = pool(
        net.messages(selves),
        torch.from_numpy(place[near.rows]),
        torch.from_numpy(weights.astype(np.float32)),
    )
    return net(selves[torch.from_numpy(place[rows])], pooled)


@torch.inference_mode()
def _write(
    workspace: Workspace, source: Source, net: PinSage, vocabulary: NgramVocabulary, until: int
) -> ItemVectors:
    """Embed all pins with any inputs, and write the feature.

    The pins' own states and their messages are kept in half precision: 1 KB per pin.
    """
    total = source.count()
    ids: list[str] = []
    told = np.zeros(total, dtype=bool)
    selves = np.empty((total, HIDDEN), dtype=np.float16)
    messages = np.empty((total, HIDDEN), dtype=np.float16)
    hashes: list[bytes] = []
    for keys, batch, made in blocks(source, vocabulary):
        part = slice(len(ids), len(ids) + len(keys))
        tokens, present = net.tokens(batch)
        own = net.selves(tokens)
        selves[part], messages[part] = own.numpy(), net.messages(own).numpy()
        told[part] = present.any(dim=1).numpy()
        ids += keys
        hashes += made
    seed = net.tokens.seed
    near = neighbourhoods(pin_board_graph(source.db, ids, until), ids, seed=seed)
    kept = np.flatnonzero(told | (near.weights.sum(axis=1) > 0))
    vectors = np.empty((len(kept), net.skip.out_features), dtype=np.float32)
    for start in range(0, len(kept), _BLOCK):
        rows = kept[start : start + _BLOCK]
        nodes, places = np.unique(near.rows[rows], return_inverse=True)
        pooled = pool(
            torch.from_numpy(messages[nodes]).float(),
            torch.from_numpy(places.reshape(len(rows), -1)),
            torch.from_numpy(near.weights[rows]),
        )
        vectors[start : start + len(rows)] = net(torch.from_numpy(selves[rows]).float(), pooled)
    keys = [ids[row] for row in kept.tolist()]
    made = [hashes[row] for row in kept.tolist()]
    feature = write_graph(workspace, source, keys, vectors, made)
    note_fit(source.db, feature, until)
    return feature
