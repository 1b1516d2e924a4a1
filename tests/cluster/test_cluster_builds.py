"""Builds of a workspace come and go in a cluster, and what is live stays so whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_nodes import asked, settle_in

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.indexer.cluster.names import number_of
from omnisearch.indexer.cluster.nodes import Nodes, Unreachable
from omnisearch.indexer.generation import live_number
from omnisearch.indexer.loading import builds
from omnisearch.indexer.verify import rollback, status

ENTITIES = ("pin", "product", "query")


@pytest.fixture
def nodes(node: list[str], request: pytest.FixtureRequest) -> Iterator[Nodes]:
    with asked(node, request.node.name.replace("_", "-")) as found:
        yield found


@pytest.fixture
def workspace(trained: Workspace, nodes: Nodes, tmp_path: Path) -> Workspace:
    """`trained`, whose next builds go into a node."""
    root = tmp_path / "workspace"
    workspace = Workspace(root)
    subprocess.run(["cp", "-r", trained.root, root], check=True)
    settle_in(workspace, nodes.config.nodes, nodes.config.name)
    return workspace


def there(nodes: Nodes) -> dict[str, int]:
    """This test's collections → the number of their build."""
    return number_of(
        nodes.config.name, [each.name for each in nodes.clients[0].get_collections().collections]
    )


def names(nodes: Nodes, *numbers: int) -> set[str]:
    return {f"{nodes.config.name}_{number}_{entity}" for number in numbers for entity in ENTITIES}


@pytest.mark.slow
def test_a_killed_load_leaves_what_is_live_and_the_next_build_sweeps(
    workspace: Workspace, nodes: Nodes
) -> None:
    command = "import sys; from omnisearch import pipeline; pipeline.build_index(sys.argv[1])"
    loading = subprocess.Popen([sys.executable, "-c", command, workspace.root])
    until = time.monotonic() + 120
    while not sum(nodes.clients[0].count(name).count for name in there(nodes)):  # points arrive
        assert loading.poll() is None and time.monotonic() < until
    os.kill(loading.pid, signal.SIGKILL)
    loading.wait()
    assert there(nodes).keys() <= names(nodes, 2)
    assert live_number(workspace) == 1
    assert [each["number"] for each in status(workspace)["generations"]] == [1]
    with pytest.raises(InputError, match="no generation 2"):
        rollback(workspace, 2)
    number = pipeline.build_index(workspace)
    assert live_number(workspace) == number
    assert there(nodes).keys() == names(nodes, number)


@pytest.mark.slow
def test_collections_go_with_the_folders_of_their_builds(
    workspace: Workspace, nodes: Nodes
) -> None:
    settle_in(workspace, nodes.config.nodes, nodes.config.name, "retention = 2")
    pipeline.build_index(workspace)
    pipeline.build_index(workspace)
    assert there(nodes).keys() == names(nodes, 2, 3)  # generation 1 was never in the cluster
    rollback(workspace)
    assert live_number(workspace) == 2
    nodes.clients[0].delete_collection(f"{nodes.config.name}_3_product")
    with pytest.raises(Corrupt, match=r"The cluster has no collection \S+_3_product\."):
        rollback(workspace, 3)
    assert live_number(workspace) == 2


def test_a_build_that_is_not_whole_in_the_cluster_does_not_go_live(
    workspace: Workspace, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builds.load

    def less(nodes: Nodes, *rest: object) -> None:
        load(nodes, *rest)  # type: ignore[arg-type]
        nodes.clients[0].delete(f"{nodes.config.name}_2_pin", points_selector=[7])

    monkeypatch.setattr(builds, "load", less)
    with pytest.raises(Corrupt, match="_2_pin has 399 points and not 400"):
        pipeline.build_index(workspace)
    assert live_number(workspace) == 1
    assert not there(nodes) and not workspace.generation(2).exists()


def test_options_name_the_nodes_for_one_build(workspace: Workspace, nodes: Nodes) -> None:
    (url,) = nodes.config.nodes
    workspace.settings.write_text(f'[cluster]\nname = "{nodes.config.name}"\ntimeout = 20.0\n')

    def built(*options: str) -> subprocess.CompletedProcess[str]:
        main = "from omnisearch.cli.main import main; main()"
        command = [sys.executable, "-c", main, "index", "build", *options]
        command += ["--workspace", str(workspace.root)]
        return subprocess.run(command, capture_output=True, text=True)

    refused = built("--backend", "qdrant", "--url", "nowhere")
    assert refused.returncode == 2 and "[cluster] urls" in refused.stderr
    needless = built("--url", url)
    assert needless.returncode == 2 and "Add `--backend qdrant`." in needless.stderr
    made = built("--backend", "qdrant", "--url", url)
    assert made.returncode == 0, made.stderr
    assert f'put `urls = "{url}"` under `[cluster]`' in made.stdout
    assert there(nodes).keys() == names(nodes, 2)
    assert [each["backend"] for each in status(workspace)["generations"]] == ["qdrant", "local"]


def test_two_workspaces_do_not_share_a_name(
    workspace: Workspace, clustered: Workspace, node: list[str], nodes: Nodes
) -> None:
    settle_in(workspace, node, "clustered")
    with pytest.raises(InputError, match=r"clustered_2_\w+ in the cluster belongs to another"):
        pipeline.build_index(workspace)
    assert nodes.clients[0].count("clustered_2_pin").count == 400
    assert live_number(workspace) == 1


def test_without_a_cluster_nothing_is_built(workspace: Workspace, nodes: Nodes) -> None:
    settle_in(workspace, [], nodes.config.name)
    with pytest.raises(InputError, match="No node of the cluster is named"):
        pipeline.build_index(workspace)
    settle_in(workspace, ["http://127.0.0.1:9"], nodes.config.name)
    with pytest.raises(Unreachable, match="No node of the cluster answered"):
        pipeline.build_index(workspace)
    assert [path.name for path in workspace.generations.iterdir()] == ["1"]


def test_updates_come_on_top_in_files(workspace: Workspace, nodes: Nodes, tmp_path: Path) -> None:
    pipeline.build_index(workspace)
    file = tmp_path / "pins.jsonl"
    file.write_text('{"id": "new", "title": "a chair of oak"}\n')
    pipeline.import_files(workspace, [file], kind="pins")
    assert pipeline.update_index(workspace) == 3
    assert there(nodes).keys() == names(nodes, 2)
    (update, build, first) = status(workspace)["generations"]
    assert update["segments"] == [2, 3] and build["segments"] == [2]
    assert [each["backend"] for each in (update, build, first)] == ["qdrant", "qdrant", "local"]
