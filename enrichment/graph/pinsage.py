"""PinSage (§3.3; Ying et al., KDD '18): training, and embedding all pins.

Trained on pairs of pins that share a board and pairs that one query engaged, half and half, by
in-batch softmax with logQ correction, uniform random negatives and hard ones. A pair's pins are
hidden from each other's neighbourhoods, so that the input does not reveal that they share a board.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sqlite_utils
import torch
import torch.nn.functional as F
from torch import Tensor

from omnisearch.data.catalogue.splits import feature_until, known_window
from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.models.ngrams import NgramVocabulary
from omnisearch.encoders.models.ragged import Ragged
from omnisearch.enrichment.graph.config import GraphConfig
from omnisearch.enrichment.graph.cooccurrence import (
    PairSource,
    board_groups,
    hold_out_groups,
    query_groups,
)
from omnisearch.enrichment.graph.hard_negatives import LAST, hard_negatives
from omnisearch.enrichment.graph.hard_negatives import drawn as drawn_hard
from omnisearch.enrichment.graph.network_inputs import Items, Source, moments, write_graph
from omnisearch.enrichment.graph.pinsage_embedding import embedded, nodes_of
from omnisearch.enrichment.graph.pinsage_network import PinSage, pool
from omnisearch.enrichment.graph.saved_networks import Saved, load, save
from omnisearch.enrichment.graph.training import minimise, pair_loss, steps_for
from omnisearch.enrichment.graph.walks import (
    NEIGHBOURS,
    Neighbours,
    neighbourhoods,
    pin_board_graph,
)
from omnisearch.enrichment.vector_provenance import note_fit

NAME = "pinsage"
# Pairs per step, fewer in a small catalogue; and half as many random negatives.
PAIRS, FEWEST_PAIRS = 512, 64
SOME = 4  # neighbours sampled for each pin of a batch
ALONE = 0.1  # chance that a pin is shown without its neighbours


@dataclass(frozen=True)
class Task:
    """The data that training samples from.

    Attributes:
        pairs: pairs per step, of all sources together.
        shares: (n,) log P of a pin in a step's targets, hard negatives aside.
        hard: the hard negatives of each pin; None to train without.
    """

    items: Items
    neighbours: Neighbours
    sources: list[PairSource]
    pairs: int
    shares: Tensor
    hard: Ragged | None


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
    config = GraphConfig.load(workspace)
    task = _task(source, until, seed, config.hard_negatives)
    if task is None:
        return ItemVectors(NAME, "pin", [], np.zeros((0, dim), dtype=np.float32))
    vocabulary = task.items.index.vocabulary
    net = PinSage(len(vocabulary), source.dims, dim, seed, config.convolutions)
    net.tokens.standardise({name: moments(feature) for name, feature in source.features.items()})
    edges = sum(len(pairs.groups.item) for pairs in task.sources)
    steps = steps_for(edges, task.pairs)
    minimise(net, steps, lambda rng, epoch: _loss(net, task, epoch, rng), seed, progress)
    facts = {"dims": source.dims, "dim": dim, "seed": seed, "until": until, "steps": steps}
    facts["convolutions"] = config.convolutions
    save(workspace, NAME, Saved(facts, vocabulary, net.state_dict()))
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
    given = words, config["dims"], config["dim"], config["seed"], config.get("convolutions", 1)
    # Networks of earlier versions have one convolution, without a name of its own.
    tensors = {
        f"convolutions.0.{key}" if key.startswith(("neighbour.", "join.")) else key: tensor
        for key, tensor in saved.tensors.items()
    }
    return replace(saved, tensors=tensors).network(lambda: PinSage(*given))


def _task(source: Source, until: int, seed: int, with_hard: bool) -> Task | None:
    """None if there are no pairs to learn from."""
    items = Items(source)
    db, ids = source.db, items.ids
    window = known_window(until)
    groups = board_groups(db, "pin", ids, window), query_groups(db, "pin", ids, window)
    found = [PairSource.of(hold_out_groups(kind)[0], len(items)) for kind in groups]
    sources = [pairs for pairs in found if pairs is not None]
    if not sources:
        return None
    visited = neighbourhoods(pin_board_graph(db, ids, until), ids, LAST, seed)
    hard = hard_negatives(visited, [pairs.groups for pairs in sources]) if with_hard else None
    edges = sum(len(pairs.groups.item) for pairs in sources)
    count = min(PAIRS, max(FEWEST_PAIRS, edges // 8))
    paired = sum(np.exp(pairs.log_share) for pairs in sources) / len(sources)
    shares = torch.from_numpy(np.log((2 * paired + 1 / len(items)) / 3).astype(np.float32))
    return Task(items, visited.nearest(NEIGHBOURS), sources, count, shares, hard)


def _loss(net: PinSage, task: Task, epoch: int, rng: np.random.Generator) -> Tensor:
    """The loss of one batch: pairs of each source, random pins, and `epoch` hard ones of a pair.

    The logQ correction of a hard negative is that of any pin. By its true chance, which is large,
    it would weigh next to nothing.
    """
    each = task.pairs // len(task.sources)
    drawn = [pairs.draw(each, rng) for pairs in task.sources]
    first, second = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    group = np.concatenate([pair[2] * len(drawn) + at for at, pair in enumerate(drawn)])
    random = rng.integers(len(task.items), size=len(first) // 2)
    if task.hard is not None and epoch:
        random = np.concatenate((random, drawn_hard(task.hard, first, epoch, rng)))
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
    reached, alone = rows, rng.random(len(rows)) < ALONE
    shares = []  # (b, SOME) for each convolution, from the last, which only `rows` go through
    for _ in net.layers:
        near = task.neighbours.drawn(reached, SOME, rng)
        unseen = (near.rows == hidden[:, None]) | alone[:, None]
        weights = np.where(unseen, 0.0, near.weights)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        shares.append(torch.from_numpy(weights.astype(np.float32)))
        beside = np.where(weights > 0, near.rows, reached[:, None]).ravel()
        reached = np.concatenate((reached, beside))
        hidden = np.concatenate((hidden, np.repeat(hidden, SOME)))
        alone = np.concatenate((alone, np.zeros(len(beside), dtype=bool)))
    nodes, places = np.unique(reached, return_inverse=True)
    place = torch.from_numpy(places)
    selves = net.selves(net.tokens(task.items.batch(nodes))[0])
    own, states = selves[place[: len(rows)]], F.relu(selves)
    for convolution, share in zip(net.layers, reversed(shares), strict=True):
        b = len(share)
        pooled = pool(convolution.messages(states), place[b:].view(b, SOME), share)
        states = convolution(states[place[:b]], pooled)
        place = torch.arange(b)
    return net(own, states)


def _write(
    workspace: Workspace, source: Source, net: PinSage, vocabulary: NgramVocabulary, until: int
) -> ItemVectors:
    """Embed all pins with any inputs, and write the feature."""
    nodes = nodes_of(source, net, vocabulary)
    graph = pin_board_graph(source.db, nodes.ids, until)
    near = neighbourhoods(graph, nodes.ids, seed=net.tokens.seed)
    kept, vectors = embedded(net, nodes, near)
    keys = [nodes.ids[row] for row in kept.tolist()]
    made = [nodes.hashes[row] for row in kept.tolist()]
    feature = write_graph(workspace, source, keys, vectors, made)
    note_fit(source.db, feature, until)
    return feature


def product_vectors(
    workspace: Workspace, db: sqlite_utils.Database, saved: Saved, until: int
) -> ItemVectors | None:
    """PinSage vectors of products, which ItemSage reads: float32 (n, dim), unit rows; not stored.

    A product is embedded as a pin is: from its own title, description, caption, picture and text
    vector, and from the pins that walks from its boards visit. None if products lack an item vector
    that the network reads, or have no inputs at all.
    """
    sources = [
        Source.open(workspace, db, entity, NAME).narrowed(saved.config["dims"])
        for entity in ("pin", "product")
    ]
    net = network(saved)
    both = [nodes_of(source, net, saved.vocabulary) for source in sources if source is not None]
    if len(both) < 2:
        return None
    pins, products = both
    nodes = pins + products
    graph = pin_board_graph(db, pins.ids, until, products.ids)
    near = neighbourhoods(graph, nodes.ids, seed=net.tokens.seed, pins=len(pins.ids))
    kept, vectors = embedded(net, nodes, near)
    mine = kept >= len(pins.ids)
    ids = [nodes.ids[row] for row in kept[mine].tolist()]
    return ItemVectors(NAME, "product", ids, vectors[mine]) if ids else None
