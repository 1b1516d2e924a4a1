"""Embedding items by a trained PinSage, all at once: every convolution over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from omnisearch.encoders.models.ngrams import NgramVocabulary
from omnisearch.enrichment.graph.network_inputs import Source, blocks
from omnisearch.enrichment.graph.pinsage_network import HIDDEN, PinSage, pool
from omnisearch.enrichment.graph.walks import Neighbours

_BLOCK = 8192


@dataclass(frozen=True)
class Nodes:
    """n items without their neighbours.

    Attributes:
        selves: (n, HIDDEN) float16.
        told: (n,) bool, which have inputs of their own.
        hashes: of these inputs.
    """

    ids: list[str]
    selves: Tensor
    told: np.ndarray
    hashes: list[bytes]

    def __add__(self, other: Nodes) -> Nodes:
        return Nodes(
            self.ids + other.ids,
            torch.cat((self.selves, other.selves)),
            np.concatenate((self.told, other.told)),
            self.hashes + other.hashes,
        )


@torch.inference_mode()
def nodes_of(source: Source, net: PinSage, vocabulary: NgramVocabulary) -> Nodes:
    """All items of a source."""
    total = source.count()
    ids: list[str] = []
    told = np.zeros(total, dtype=bool)
    selves = torch.empty((total, HIDDEN), dtype=torch.float16)
    hashes: list[bytes] = []
    for keys, batch, made in blocks(source, vocabulary):
        part = slice(len(ids), len(ids) + len(keys))
        tokens, present = net.tokens(batch)
        selves[part] = net.selves(tokens).half()
        told[part] = present.any(dim=1).numpy()
        ids += keys
        hashes += made
    return Nodes(ids, selves, told, hashes)


@torch.inference_mode()
def embedded(net: PinSage, nodes: Nodes, near: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """(k,) the rows of the items that have inputs or neighbours, and (k, dim) float32 unit rows.

    States and messages are kept in half precision, 1 KB an item beside `nodes`.
    """
    states = F.relu(nodes.selves)
    for convolution in net.layers:
        messages = torch.empty_like(states)
        for part in _parts(len(states)):
            messages[part] = convolution.messages(states[part].float()).half()
        for part in _parts(len(states)):
            reached, places = np.unique(near.rows[part], return_inverse=True)
            pooled = pool(
                messages[torch.from_numpy(reached)].float(),
                torch.from_numpy(places.reshape(-1, near.rows.shape[1])),
                torch.from_numpy(near.weights[part]),
            )
            states[part] = convolution(states[part].float(), pooled).half()
    kept = np.flatnonzero(nodes.told | (near.weights.sum(axis=1) > 0))
    vectors = np.empty((len(kept), net.skip.out_features), dtype=np.float32)
    for part in _parts(len(kept)):
        rows = torch.from_numpy(kept[part])
        vectors[part] = net(nodes.selves[rows].float(), states[rows].float()).numpy()
    return kept, vectors


def _parts(count: int) -> list[slice]:
    """The rows of a matrix of `count` rows, _BLOCK at a time."""
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
