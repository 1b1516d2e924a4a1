"""SQLite files that cache what models computed; they may be deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnisearch.data.workspace.causes import cause_of, is_damage
from omnisearch.data.workspace.errors import Corrupt


def open_cache(path: Path, table: str) -> sqlite3.Connection:
    """Open a cache, created if missing; `table` is what follows CREATE TABLE.

    Raises:
        Corrupt: the file is damaged. Unavailable: it is locked, or the disk is full or read-only.
    """
    with cache_errors(path):
        connection = sqlite3.connect(path, timeout=60)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """What SQLite says of the cache at `path`, as errors for the user."""
    try:
        yield
    except sqlite3.Error as error:
        known = None if is_damage(error) else cause_of(error, path)
        raise known or Corrupt(
            f"The {path.stem.replace('_', ' ')} cannot be read ({error}).",
            where=str(path),
            how="Delete it; its content is computed again.",
        ) from error
