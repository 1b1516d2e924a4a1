"""Which generations and signals are kept, and the number of the next generation."""

from __future__ import annotations

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import numbers_in, read_manifest, read_number, sweep
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import remove_folder
from omnisearch.indexer.generation import GENERATION


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
    """Remove all but the newest `keep` generations; never the live one.

    Also removes signals of checkpoints that no remaining generation uses.
    """
    numbers = numbers_in(workspace.generations)
    others = [number for number in numbers if number != live]
    kept = {live, *others[len(others) - (keep - 1) :]} if keep > 1 else {live}
    for number in numbers:
        if number not in kept:
            remove_folder(workspace.generation(number))
    sweep(workspace.signals, {_checkpoint_of(workspace, number) for number in kept})


def _checkpoint_of(workspace: Workspace, number: int) -> str:
    try:
        return read_manifest(workspace.generation(number), GENERATION).get("checkpoint", "")
    except Corrupt:
        return ""
