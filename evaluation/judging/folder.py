"""The folder of one judging, `judging/<name>/` in the workspace.

    design.json     the form, the systems, k, the seed, and what they answered from
    queries.jsonl   the queries with stratum and weight
    pairs.jsonl     the pairs to judge, in order, without systems or ranks
    shown.jsonl     kept separate: which system shows which pair at which rank
    answers/        one file per judge (`omnisearch.evaluation.judging.answers`)

Everything except the answers is written once, with one rename.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.evaluation.judging.queries import DrawnQuery
from omnisearch.evaluation.judging.scale import FORMS, RESULTS, Form

T = TypeVar("T")
VERSION = 1
_NAME = re.compile(r"\w[\w.-]{0,63}")


@dataclass(frozen=True)
class Pair:
    """A query, or a caption, and an item as judges see them, as they were when drawn.

    Attributes:
        id: depends only on the text and the item; begins with a letter, so that spreadsheets do
            not read it as a number.
        query: the query's id, empty for a caption. text: the query as first seen, or the caption.
        category: of the item, if its caption is judged.
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
    category: str = ""


@dataclass(frozen=True)
class Shown:
    """The ids of the pairs that a system shows for a query, best first.

    Attributes:
        weight: how many searches this stands for, if an experiment's variant showed it.
    """

    query: str
    system: str
    pairs: list[str]
    weight: float = 1.0


@dataclass(frozen=True)
class Design:
    """How a judging was drawn; `notes` describe the data.

    `form` is one of FORMS. Captions are of no system: `systems` is empty, and `k` and `generation`
    are 0. If an `experiment` is judged, `systems` are its variants, `searches` are those that it
    had of each stratum, and `generation` is 0, since there may have been several.
    """

    systems: list[str]
    k: int
    seed: int
    generation: int
    checkpoint: str
    drawn_at: int
    notes: list[str]
    version: int = VERSION
    form: str = RESULTS
    experiment: str = ""
    searches: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"the form {self.form!r} is unknown")


@dataclass(frozen=True)
class Judging:
    """An open judging. Its files are read on first use.

    Every property raises Corrupt if its file is damaged.
    """

    name: str
    folder: Path

    @classmethod
    def open(cls, workspace: Workspace, name: str) -> Judging:
        """The judging of that name; raises NotReady, listing the existing names."""
        judging = cls(check_name(name, "judging"), workspace.judging_of(name))
        if not judging.folder.is_dir():
            there = sorted(p.name for p in workspace.judging.glob("[!.]*") if p.is_dir())
            known = f"Choose one of {', '.join(there)}, or run" if there else "Run"
            raise NotReady(
                f"There is no judging {name!r}.",
                where=str(judging.folder),
                how=f"{known} `omnisearch judge draw {name}`.",
            )
        return judging

    @classmethod
    def new(cls, workspace: Workspace, name: str) -> Judging:
        """A judging to be drawn; raises InputError if the name is invalid."""
        return cls(check_name(name, "judging"), workspace.judging_of(name))

    def check_free(self, experiment: str = "") -> None:
        """Raise InputError if there is a judging of this name; that of an `experiment` has no
        other. To be called after all that also another name would not mend."""
        if not self.folder.exists():
            return
        if not experiment:
            raise name_taken(self.folder)
        if self.design.experiment == experiment:
            raise InputError(
                f"The experiment {experiment!r} was drawn for judging already.",
                where=str(self.folder),
                how=f"Judge it with `omnisearch judge ask {experiment} --judge NAME`; to draw it "
                "anew, delete the folder with all its answers.",
            )
        raise InputError(
            f"There is another judging {self.name!r}, which is not of this experiment.",
            where=str(self.folder),
            how="Rename that folder, or delete it with all its answers: the judging of an "
            "experiment has the experiment's name.",
        )

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @cached_property
    def design(self) -> Design:
        return self._read("design.json", lambda entry: Design(**entry), least=1)[0]

    @property
    def form(self) -> Form:
        return FORMS[self.design.form]

    @cached_property
    def queries(self) -> list[DrawnQuery]:
        return self._read("queries.jsonl", lambda entry: DrawnQuery(**entry))

    @cached_property
    def pairs(self) -> dict[str, Pair]:
        """id → pair, in the order of judging."""
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
                how="Restore a copy of the folder, or draw another judging.",
            ) from error


def write_judging(
    folder: Path,
    design: Design,
    queries: Iterable[DrawnQuery],
    pairs: Iterable[Pair],
    shown: Iterable[Shown],
) -> None:
    """Write a new judging atomically.

    Raises:
        InputError: a judging of that name exists.
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
    """The error for drawing a judging under a name that is taken."""
    return InputError(
        f"A judging {folder.name!r} already exists.",
        where=str(folder),
        how="Delete the folder with all its answers, or choose another name.",
    )


def check_name(name: str, what: str) -> str:
    """The name; raises InputError if it is not a valid file name."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be the name of a {what}.",
            where=what,
            how="Use letters, digits, hyphens, dots and underscores, at most 64.",
        )
    return name
