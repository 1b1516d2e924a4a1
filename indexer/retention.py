"""Which generations, signals and exports are kept, and the number of the next generation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import numbers_in, read_manifest, read_number, sweep
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import remove_folder
from omnisearch.indexer.cluster.names import OWNER
from omnisearch.indexer.loading.builds import forget
from omnisearch.indexer.segment import GENERATION, LOADING_FILE, QDRANT


def next_number(workspace: Workspace) -> int:
    """The number of the next generation, above all existing ones.

    A damaged pointer does not stop a build, because it will be replaced.
    """
    try:
        live = read_number(workspace.current, GENERATION) or 0
    except Corrupt:
        live = 0
    return max([*numbers_in(workspace.generations), live]) + 1


def retain(workspace: Workspace, keep: int, live: int) -> None:
    """Remove all but the newest `keep` generations and the newest `keep` builds; never the live
    one, those that an experiment needs, and what the kept ones consist of."""
    facts = {number: _facts(workspace, number) for number in numbers_in(workspace.generations)}
    builds = [number for number, says in facts.items() if says.get("based_on") is None]
    kept = {live, *_last(facts, keep, live), *_last(builds, keep, live)}
    kept |= _of_experiments(workspace)
    kept |= {each for number in kept for each in facts.get(number, {}).get("segments", ())}
    kept |= {number for number in facts if _is_unloaded(workspace, number)}
    gone = {number: says for number, says in facts.items() if number not in kept}
    for number in gone:
        remove_folder(workspace.generation(number))
    loaded = {
        number: says.get(OWNER) for number, says in gone.items() if says.get("backend") == QDRANT
    }
    if loaded:
        forget(workspace, loaded)


def remove_unloaded(workspace: Workspace) -> None:
    """Remove the builds that a killed process was loading into a cluster.

    Call it under the build lock, since a running build may have such a one.
    """
    for number in numbers_in(workspace.generations):
        if _is_unloaded(workspace, number):
            remove_folder(workspace.generation(number))


def _is_unloaded(workspace: Workspace, number: int) -> bool:
    return (workspace.generation(number) / LOADING_FILE).exists()


def retain_signals(workspace: Workspace) -> None:
    """Remove signals and exports of checkpoints that no generation uses.

    Call it under the build lock, since a running build has such.
    """
    numbers = numbers_in(workspace.generations)
    used = {_facts(workspace, each).get("checkpoint", "") for each in numbers}
    sweep(workspace.signals, used)
    if workspace.exports.is_dir():
        sweep(workspace.exports, used)


def _of_experiments(workspace: Workspace) -> set[int]:
    """The generations that variants of experiments name, unless these were stopped."""
    found: set[int] = set()
    for path in workspace.experiments.glob("[!.]*.json"):
        try:
            values = orjson.loads(path.read_bytes())
            if values["history"][-1]["state"] != "stopped":
                named = (each.get("generation") for each in values["experiment"]["variants"])
                found |= {number for number in named if isinstance(number, int)}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            continue  # a damaged one is told by whoever runs it
    return found


def _last(numbers: Iterable[int], keep: int, live: int) -> list[int]:
    """The newest of the numbers, one less than `keep` without the live one."""
    others = [number for number in numbers if number != live]
    return others[max(len(others) - (keep - 1), 0) :]


def _facts(workspace: Workspace, number: int) -> dict[str, Any]:
    try:
        return read_manifest(workspace.generation(number), GENERATION)
    except Corrupt:
        return {}
