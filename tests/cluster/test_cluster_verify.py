"""What is checked before a build goes live, and by `index verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_nodes import asked, copied

from omnisearch.data.workspace import Workspace
from omnisearch.indexer.cluster.names import WORDS
from omnisearch.indexer.cluster.nodes import Nodes
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.loading.copies import copies_of
from omnisearch.indexer.loading.load import load
from omnisearch.indexer.loading.verify import verify
from omnisearch.indexer.segment import Segment
from omnisearch.pipeline.verify import verify_workspace


@pytest.fixture(scope="module")
def segment(trained: Workspace) -> Segment:
    return Generation.open(trained).segments[0]


@pytest.fixture(scope="module")
def checked(trained: Workspace, node: list[str], segment: Segment) -> Iterator[Nodes]:
    with asked(node, "checked") as nodes:
        load(nodes, nodes.config, segment)
        yield nodes


def found(nodes: Nodes, segment: Segment) -> str:
    return " ".join(verify(nodes, nodes.config, segment).problems)


def test_a_whole_build_has_no_problems_and_is_measured(checked: Nodes, segment: Segment) -> None:
    result = verify(checked, checked.config, segment)
    assert result.problems == []
    recall = result.recall["checked_1_pin"]["learned"]
    assert recall["recall"]["sample"] == 40 and recall["recall"]["recall"] > 0.98
    assert recall["item_recall"]["recall"] > 0.98


def test_changed_points_are_named(checked: Nodes, segment: Segment) -> None:
    from qdrant_client import models

    client: Any = checked.clients[0]
    name = "checked_1_product"
    vector = segment.spaces["product", "learned"].vectors[5].copy()
    vector[0] = np.nextafter(vector[0], np.float32(2))  # by its last bit
    client.update_vectors(name, [models.PointVectors(id=5, vector={"learned": vector.tolist()})])
    assert f"The point 5 of the collection {name} has another vector 'learned'." in found(
        checked, segment
    )
    words = models.SparseVector(indices=[1], values=[1.0])
    client.update_vectors(name, [models.PointVectors(id=6, vector={WORDS: words})])
    assert "The point 6 of the collection checked_1_product has another vector of words." in found(
        checked, segment
    )
    client.set_payload(name, {"is_ad": True, "brand": "another"}, [7])
    assert "The point 7 of the collection checked_1_product has another payload." in found(
        checked, segment
    )
    client.delete(name, [8])
    assert "The collection checked_1_product has 99 points and not 100" in found(checked, segment)


def test_collections_of_another_build_are_refused(checked: Nodes, segment: Segment) -> None:
    client: Any = checked.clients[0]
    client.update_collection("checked_1_query", metadata={"manifest": "0" * 64})
    client.delete_collection("checked_1_pin")
    assert verify(checked, checked.config, segment).problems == [
        "The cluster has no collection checked_1_pin.",
        "The collection checked_1_query in the cluster is of another build.",
    ]


@pytest.mark.slow
def test_index_verify_asks_the_cluster(trained: Workspace, node: list[str], tmp_path: Path) -> None:
    workspace = copied(trained, tmp_path / "workspace", node, "asked")
    result = verify_workspace(workspace)
    assert "cluster" in result.checked and result.problems == []
    with asked(node, "asked") as nodes:
        nodes.clients[0].delete("asked_2_pin", [0])
    assert "asked_2_pin has 399 points and not 400" in " ".join(
        verify_workspace(workspace).problems
    )


@pytest.mark.slow
def test_all_copies_answer_alike(three_nodes: list[str], segment: Segment) -> None:
    with asked(three_nodes, "three", replicas=2, shards=3) as nodes:
        load(nodes, nodes.config, segment)
        assert verify(nodes, nodes.config, segment).problems == []
        for entity, table in segment.tables.items():
            name = f"three_1_{entity}"
            copies = copies_of(nodes.clients[0], name)
            assert sorted(copies) == [0, 1, 2]
            assert all(len(set(having)) == 2 for having in copies.values())
            vectors = segment.spaces[entity, "learned"].vectors
            for row in range(0, len(table), 20):
                lists = [
                    [
                        (each.id, each.score)
                        for each in client.query_points(
                            name, query=vectors[row].tolist(), using="learned", limit=20
                        ).points
                    ]
                    for client in nodes.clients
                ]
                assert len(lists[0]) == 20 and lists[0] == lists[1] == lists[2]
    with asked(three_nodes, "three", replicas=3) as nodes:
        problems = verify(nodes, nodes.config, segment).problems
        assert "Shard 0 of the collection three_1_pin has 2 of 3 copies that answer." in problems
