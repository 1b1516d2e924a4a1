"""The hub of models: what may be one of its names, and whether it answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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
