"""Listing generations, verifying them, and rolling back."""

from __future__ import annotations

from typing import Any

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import (
    numbers_in,
    problems_of,
    read_manifest,
    read_number,
    write_pointer,
)
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.locks import build_lock, publish_lock
from omnisearch.indexer.generation import Generation, folder_of, live_number
from omnisearch.indexer.loading.builds import problems_of_build
from omnisearch.indexer.loading.status import cluster_status
from omnisearch.indexer.parts.tokens import check_tokens
from omnisearch.indexer.segment import GENERATION, LOADING_FILE, LOCAL, QDRANT

_AT_ONCE = 10_000  # rows that are in memory


def status(workspace: Workspace) -> dict[str, Any]:
    """The existing generations: {'live': number or None, 'generations': [summary, ...]}.

    A summary, newest first, has number, live (bool), created_at, checkpoint, checkpoint_name,
    engaged_until, bytes, segments (numbers), entities (rows, and how many of them are in its own
    segment), spaces (of that segment: vectors, measured recall of queries and of items); for a
    damaged one only number, live and problem. `cluster` is there if any build is in one (see
    `indexer.loading.status`). Folders of which only the segment is needed by a
    newer generation, and those that are being loaded into a cluster, are left out.
    """
    try:
        live, problem = read_number(workspace.current, GENERATION), None
    except Corrupt as error:
        live, problem = None, str(error)
    found: dict[str, Any] = {"live": live, "generations": []}
    if problem:
        found["problem"] = problem
    there = numbers_in(workspace.generations)
    for number in reversed(there):
        if (workspace.generation(number) / LOADING_FILE).exists():
            continue
        summary: dict[str, Any] = {"number": number, "live": number == live}
        try:
            summary |= _summary(read_manifest(workspace.generation(number), GENERATION))
            if not set(summary["segments"]) <= set(there):
                continue
            summary["backend"] = backend_of(workspace, summary["segments"][0])
        except (Corrupt, KeyError, TypeError, AttributeError) as error:
            summary["problem"] = str(error)
        found["generations"].append(summary)
    if any(each.get("backend") == QDRANT for each in found["generations"]):
        found["cluster"] = cluster_status(workspace)
    return found


def backend_of(workspace: Workspace, build: int) -> str:
    """Where the build of a generation is searched."""
    says = read_manifest(workspace.generation(build), GENERATION)
    return str(says.get("backend", LOCAL))


def _summary(manifest: dict[str, Any]) -> dict[str, Any]:
    told = ("created_at", "checkpoint", "checkpoint_name", "engaged_until", "synthetic", "based_on")
    return {
        **{name: manifest[name] for name in told},
        "bytes": sum(says["bytes"] for says in manifest["files"].values()),
        "segments": manifest["segments"],
        "entities": manifest["entities"],
        "spaces": {
            f"{says['entity']} {says['space']}": {
                "vectors": says["vectors"],
                "recall": says["recall"],
                "item_recall": says["item_recall"],
            }
            for says in manifest["spaces"]
        },
    }


def verify(workspace: Workspace, number: int | None = None) -> list[str]:
    """The problems of a generation (the live one by default), as sentences; empty if none.

    Every file is compared with the manifest, all indexes are opened, and what is otherwise read
    when it is needed is read to its end.

    Raises:
        NotReady: the generation does not exist.
    """
    chosen = live_number(workspace) if number is None else number
    folder, problems = folder_of(workspace, chosen), []
    try:
        segments = read_manifest(folder, GENERATION)["segments"]
        for each in sorted({chosen, *segments}):
            where = folder_of(workspace, each)
            problems += problems_of(where, GENERATION, read_manifest(where, GENERATION))
        if not problems and backend_of(workspace, segments[0]) == QDRANT:
            problems = problems_of_build(workspace, segments[0], whole=False)
        if not problems:
            read_whole(Generation.open(workspace, chosen, verify=False))
    except (Corrupt, KeyError, TypeError) as error:
        return [str(error)]
    return problems


def read_whole(generation: Generation) -> None:
    """Read what is otherwise read when it is needed; raises Corrupt."""
    for table in generation.tables.values():
        for start in range(0, len(table), _AT_ONCE):
            table.display(range(start, min(start + _AT_ONCE, len(table))))
    for segment in generation.segments:
        for entity in segment.tokens:
            check_tokens(segment.folder / entity, len(segment.content[entity]))


def rollback(workspace: Workspace, number: int | None = None) -> int:
    """Make an earlier generation the live one: `number`, or the newest one before the live one.

    It is verified first. The previous live one is kept, so that it can be restored too.

    Raises:
        NotReady: the generation does not exist, or another process is publishing.
        Corrupt: the chosen one is damaged; the live one stays.
    """
    with build_lock(workspace), publish_lock(workspace):
        numbers = [each["number"] for each in reversed(status(workspace)["generations"])]
        if number is None:
            live = live_number(workspace)
            earlier = [other for other in numbers if other < live]
            if not earlier:
                raise NotReady(
                    f"There is no generation before {live}.",
                    where=str(workspace.generations),
                    how="`omnisearch index status` lists those that are there.",
                )
            number = earlier[-1]
        elif number not in numbers:
            raise InputError(
                f"There is no generation {number}.",
                where="--number",
                how=f"Existing generations: {', '.join(map(str, numbers)) or 'none'}.",
            )
        problems = verify(workspace, number)
        if problems:
            raise Corrupt(
                " ".join(problems),
                where=str(workspace.generation(number)),
                how="Choose another with --number.",
            )
        write_pointer(workspace.current, number)
        return number
