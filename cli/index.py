"""`omnisearch index`: encode the items and publish generations of indexes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from omnisearch import pipeline
from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    table,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.dates import moment
from omnisearch.data.workspace.errors import Corrupt, InputError

app = typer.Typer(
    help="Build the indexes that searches read, update, check and roll them back.",
    no_args_is_help=True,
)

NameOption = Annotated[
    str, typer.Option("--name", help="What was trained under this name encodes the items.")
]
_ENTITIES = {"query": ("query", "queries")}
NumberOption = Annotated[int | None, typer.Option(help="The generation; by default the live one.")]


@app.command(epilog=example("omnisearch index build"))
def build(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    name: NameOption = "default",
    backend: Annotated[
        str | None,
        typer.Option(
            help="Where the build is searched, 'local' or 'qdrant', for this command in place of "
            "the setting. For good it belongs in omnisearch.toml."
        ),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="A node of the cluster, once for each, for this command in place of "
            "the setting `urls`. Searches find the nodes by the settings, so for good they belong "
            "in omnisearch.toml."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Build all indexes and put them live, as a new generation. Only what changed is encoded.

    Before any training, items are found by their words alone, and with a text encoder on this
    machine (the extra `minilm` or `multilingual`) by its embeddings too.
    """
    nodes = _overridden(workspace, backend, url or [])
    _publish("build", pipeline.build_index, workspace, name, json)
    if nodes and not json:
        out.print(
            f'Searches do not find these nodes yet: put `urls = "{nodes}"` under `[cluster]` in '
            "omnisearch.toml.",
            markup=False,
            soft_wrap=True,
        )


def _overridden(workspace: Path, backend: str | None, urls: list[str]) -> str:
    """Set where this process builds; returns the nodes if the settings name others.

    Raises InputError if nodes are given and the build is not to be in them.
    """
    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.indexer.cluster.config import ClusterConfig, cluster_config
    from omnisearch.indexer.publish import BuildOptions
    from omnisearch.indexer.segment import LOCAL

    settings = Workspace(workspace).settings
    chosen = load_section("index", BuildOptions(), settings, {"backend": backend}).backend
    if urls and chosen == LOCAL:
        raise InputError(
            "The build is not to be in a cluster.", where="--url", how="Add `--backend qdrant`."
        )
    settled = cluster_config(Workspace(workspace)).nodes
    given = ClusterConfig(urls=" ".join(urls)).nodes
    # All that a build opens reads its settings itself, from here first.
    if backend is not None:
        os.environ["OMNISEARCH_INDEX_BACKEND"] = backend
    if given:
        os.environ["OMNISEARCH_CLUSTER_URLS"] = " ".join(given)
    return " ".join(given) if given != settled else ""


@app.command(epilog=example("omnisearch index rebuild"))
def rebuild(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    name: NameOption = "default",
    json: JsonOption = False,
) -> None:
    """Encode everything again and build all indexes."""
    _publish("rebuild", pipeline.rebuild_index, workspace, name, json)


@app.command(epilog=example("omnisearch index update"))
def update(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    name: NameOption = "default",
    json: JsonOption = False,
) -> None:
    """Publish added, changed and deleted items on top of the live generation.

    New and changed texts are embedded first, if the encoder of `enrich text` is on this machine;
    what else is stale is named.
    """
    _publish("update", pipeline.update_index, workspace, name, json)


def _publish(how: str, publish: Callable[..., int], workspace: Path, name: str, json: bool) -> None:
    before = _live(workspace)
    with progress(f"index {how}") as advance:
        told: list[str] = []
        number = publish(workspace, name, advance, told.append)
    if json:
        data = {"generation": number, "published": number != before, "told": told}
        return emit_json(f"index {how}", data)
    for sentence in told:
        out.print(sentence, markup=False, soft_wrap=True)
    if number == before:
        out.print(f"Nothing has changed: generation {number} stays live.")
    else:
        show(number)


def show(number: int) -> None:
    out.print(f"Published generation {number}.")


def _live(workspace: Path) -> int | None:
    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.errors import NotReady
    from omnisearch.indexer.generation import live_number

    try:
        return live_number(Workspace(workspace))
    except (Corrupt, NotReady):  # what publishes says so
        return None


@app.command(epilog=example("omnisearch index status"))
def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """List the generations with their counts and measured recall."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.indexer.verify import status as index_status

    found = index_status(Workspace.open(workspace))
    if json:
        return emit_json("index status", found)
    rows = []
    for each in found["generations"]:
        marks = ["live"] if each["live"] else []
        marks += ["qdrant"] if each.get("backend") == "qdrant" else []
        number = f"{each['number']} ({', '.join(marks)})" if marks else str(each["number"])
        if "problem" in each:
            rows.append([number, None, each["problem"], None, None, None])
            continue
        counts = ", ".join(
            counted(says["rows"], *_ENTITIES.get(name, (name,)))
            for name, says in each["entities"].items()
            if says["rows"]
        )
        least = [
            min(
                (space[of]["recall"] for space in each["spaces"].values() if space[of]),
                default=None,
            )
            for of in ("recall", "item_recall")
        ]
        rows.append([number, moment(each["created_at"]), counts, *least, each["checkpoint"][:8]])
    columns = ["number", "built", "items", "least recall", "of items", "encoder"]
    table("Generations", columns, rows)
    out.print(
        "Least recall: the share of an exact search's results that the fast index finds too, in "
        "its worst space; of items, by their own vectors.",
        soft_wrap=True,
    )
    if "cluster" in found:
        _show_cluster(found["cluster"])


def _show_cluster(found: dict[str, Any]) -> None:
    names = ("name", "points", "state", "shards", "copies", "recall")
    rows = [[each[name] for name in names] for each in found["collections"]]
    if rows:
        table("Collections in the cluster", ["collection", *names[1:5], "least recall"], rows)
    for node in found["nodes"]:
        says = f"Qdrant {node['version']}" if "version" in node else node["problem"]
        out.print(f"{node['url']}: {says}", markup=False, highlight=False, soft_wrap=True)
    if "problem" in found:
        out.print(found["problem"], markup=False, soft_wrap=True)


@app.command(epilog=example("omnisearch index verify"))
def verify(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    number: NumberOption = None,
    json: JsonOption = False,
) -> None:
    """Check the catalogue and every file that has a hash."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.pipeline.verify import verify_workspace

    found = verify_workspace(Workspace.open(workspace), number)
    if json:
        emit_json("index verify", vars(found))
    else:
        out.print(f"Checked: {', '.join(found.checked)}.", markup=False, highlight=False)
        for line in (*found.notes, *found.problems):
            out.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)
        out.print(f"Problems: {len(found.problems)}." if found.problems else "All of it is whole.")
    if found.problems:
        raise typer.Exit(Corrupt.exit_code)


@app.command(epilog=example("omnisearch index rollback"))
def rollback(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    number: NumberOption = None,
    json: JsonOption = False,
) -> None:
    """Make an earlier generation live: the one before the live one, or --number."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.indexer.verify import rollback as put_back

    live = put_back(Workspace.open(workspace), number)
    if json:
        return emit_json("index rollback", {"generation": live})
    out.print(f"Generation {live} is live.")
