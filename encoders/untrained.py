"""How an untrained checkpoint (`training.untrained`) is told from a trained one, without torch."""

from __future__ import annotations

from omnisearch.data.workspace import Workspace

UNTRAINED = "untrained-"  # of the names of such checkpoints' folders


def is_untrained(workspace: Workspace, name: str) -> bool:
    """Whether the checkpoint of this name is there and untrained."""
    best = workspace.best_checkpoint(name)
    return best.exists() and best.read_text("utf-8", errors="replace").startswith(UNTRAINED)


def any_trained(workspace: Workspace) -> bool:
    """Whether a training has finished here, under any name."""
    names = (best.parent.name for best in workspace.checkpoints.glob("*/BEST"))
    return any(not is_untrained(workspace, name) for name in names)
