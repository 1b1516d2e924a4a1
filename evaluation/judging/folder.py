"""The folder of one judging, `judging/<name>/` in the workspace.

    design.json     the systems, k, the seed, and what they answered from
    queries.jsonl   the queries with stratum and weight
    pairs.jsonl     what judges are asked about, in their order: no trace of systems or ranks
    shown.jsonl     apart from that: which system shows which pair at which rank
    answers/        one file for each judge (`omnisearch.evaluation.judging.answers`)

All but the answers is written once, in one rename.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.evaluation.judging.queries import DrawnQuery

T = TypeVar("T")
VERSION = 1
_NAME = re.compile(r"\w[\w.-]{0,63}")


@dataclass(frozen=True)
class Pair:
    """A query and an item as judges see them, kept as they were when they were drawn.

    Attributes:
        id: made of the query and the item alone; begins with a letter, so that no spreadsheet
            takes it for a number.
        query: the query's id. text: the query as it was first seen.
    """

    id: str
    query: str
    text: str
    entity: str
    item_id: str
    title: str
    description: str
    brand: str
    price: float | None
    currency: str
    image: str
    link: str


@dataclass(frozen=True)
class Shown:
    """The ids of the pairs that a system shows for a query, best first."""

    query: str
    system: str
    pairs: list[str]


@dataclass(frozen=True)
class Design:
    """How a judging was drawn; `notes` say what the data is."""

    systems: list[str]
    k: int
    seed: int
    generation: int
    checkpoint: str
    drawn_at: int
    notes: list[str]
    version: int = VERSION


@dataclass(frozen=True)
class Judging:
    """An open judging. What it holds is read when first asked for.

    Every property raises Corrupt where its file is not what was written.
    """

    name: str
    folder: Path

    @classmethod
    def open(cls, workspace: Workspace, name: str) -> Judging:
        """The judging of that name; raises NotReady with the names there are."""
        judging = cls(check_name(name, "judging"), workspace.judging_of(name))
        if not judging.folder.is_dir():
            there = sorted(p.name for p in workspace.judging.glob("[!.]*") if p.is_dir())
            known = f"There are {', '.join(there)}; or run" if there else "Run"
            raise NotReady(
                f"There is no judging {name!r}.",
                where=str(judging.folder),
                how=f"{known} `omnisearch judge draw {name}`.",
            )
        return judging

    @classmethod
    def new(cls, workspace: Workspace, name: str) -> Judging:
        """A judging that is to be drawn; raises InputError for a bad name or one that is taken."""
        judging = cls(check_name(name, "judging"), workspace.judging_of(name))
        if judging.folder.exists():
            raise name_taken(judging.folder)
        return judging

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @cached_property
    def design(self) -> Design:
        return self._read("design.json", lambda entry: Design(**entry), least=1)[0]

    @cached_property
    def queries(self) -> list[DrawnQuery]:
        return self._read("queries.jsonl", lambda entry: DrawnQuery(**entry))

    @cached_property
    def pairs(self) -> dict[str, Pair]:
        """By id, in the order in which they are asked about."""
        pairs = self._read("pairs.jsonl", lambda entry: Pair(**entry))
        return {pair.id: pair for pair in pairs}

    @cached_property
    def shown(self) -> list[Shown]:
        return self._read("shown.jsonl", lambda entry: Shown(**entry))

    def _read(self, name: str, make: Callable[[dict[str, Any]], T], least: int = 0) -> list[T]:
        path = self.folder / name
        try:
            found = [make(orjson.loads(line)) for line in path.read_bytes().splitlines()]
            if len(found) < least:
                raise ValueError("it is empty")
            return found
        except (OSError, ValueError, TypeError) as error:
            raise Corrupt(
                f"The file cannot be read ({error}).",
                where=str(path),
                how="Put back a copy of the folder, or draw another judging.",
            ) from error


def write_judging(
    folder: Path,
    design: Design,
    queries: Iterable[DrawnQuery],
    pairs: Iterable[Pair],
    shown: Iterable[Shown],
) -> None:
    """Write a new judging: all of it or nothing.

    Raises:
        InputError: there is one of that name.
    """
    files: dict[str, Iterable[Any]] = {
        "design.json": [design],
        "queries.jsonl": queries,
        "pairs.jsonl": pairs,
        "shown.jsonl": shown,
    }
    try:
        with new_folder(folder) as temporary:
            (temporary / "answers").mkdir()
            for name, entries in files.items():
                lines = [orjson.dumps(asdict(entry)) + b"\n" for entry in entries]
                (temporary / name).write_bytes(b"".join(lines))
    except FileExistsError as error:
        raise name_taken(folder) from error


def name_taken(folder: Path) -> InputError:
    """The error of drawing a judging under the name of another."""
    return InputError(
        f"There is a judging {folder.name!r} already.",
        where=str(folder),
        how="Give another name, or delete the folder with all its answers.",
    )


def check_name(name: str, what: str) -> str:
    """The name, or InputError where no file could be called so."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a {what}.",
            where=what,
            how="Take letters, digits, hyphens, dots and underscores, at most 64.",
        )
    return name
