"""The hub of models: what may be one of its names, and whether it answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from omnisearch.data.workspace.errors import InputError

_SECONDS = 3.0


def may_be_model(name: str) -> bool:
    """Whether it is a folder, a hub's OWNER/NAME, or a model that was downloaded before."""
    if "/" in name or Path(name).is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # no name of the hub, such as one with a space
        return False


def check_folder(name: str) -> None:
    """Raise InputError for a folder that holds no model; the library's message is long."""
    folder = Path(name)
    if not folder.is_dir():
        return
    needed = {"config.json": "config.json", "*.safetensors": "weights in model.safetensors"}
    lacking = [what for pattern, what in needed.items() if not any(folder.glob(pattern))]
    if lacking:
        raise InputError(
            f"This folder holds no model: it has no {' and no '.join(lacking)}.",
            where=name,
            how="Name the folder that a model was saved or downloaded into.",
        )


def from_files(name: str) -> bool:
    """Whether a model can come from files of this machine alone: a folder, or no hub answers."""
    return Path(name).is_dir() or not _answers()


@cache
def _answers() -> bool:
    """Whether the hub answers soon. Its own library would ask six times, for half a minute."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception:  # of whichever client the library has
        return False
    return True
