"""The specification of a table, read from one TOML file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.schema import TEXT_FIELDS
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.config import preset_config
from omnisearch.world.visual import NOISE

TABLES = ("table2", "table3", "table4", "table5", "table6")
STUDIES = ("table1", "table7", "table8", "relevance", "classification")
NAMES = ("table1", *TABLES, *STUDIES[1:])  # in the paper's order
SPACES = ("learned", "compat")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "tuple": (list, tuple),
    "dict": (dict,),
}
_FOLDER = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Model:
    """One row of a table.

    Attributes:
        space: where it is measured: 'learned' or 'compat' (PinSage for pins, ItemSage for
            products).
        fields: the text fields of items that it may read; None for all. With selected fields, the
            feature 'text' is left out, since it encodes all text.
        train: training settings that differ from the table's.
    """

    name: str
    space: str = "learned"
    fields: tuple[str, ...] | None = None
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """A finding of the paper: `model` has higher recall than `than`.

    Attributes:
        columns: the columns it applies to; empty for all.
        margin: required relative gain; -0.01 is "loses less than 1%".
    """

    claim: str
    model: str
    than: str
    columns: tuple[str, ...] = ()
    margin: float = 0.0


@dataclass(frozen=True)
class Table:
    """A whole table.

    Attributes:
        pins: size of the sample world used if no workspace is given.
        columns: what is measured (`pairs.all_columns`, `worlds.graded_columns`); those without
            held-out pairs are skipped.
        decides: the columns that decide, named before anything is measured; empty for all.
        train: settings of every training, overriding the preset's.
        paper: column → model → the paper's figure.
        picture_noise: how little the sample world's image vectors say (`world.visual`).
    """

    title: str
    columns: tuple[str, ...]
    models: tuple[Model, ...]
    findings: tuple[Finding, ...] = ()
    decides: tuple[str, ...] = ()
    pins: int = 20_000
    preset: str = "demo"
    train: dict[str, Any] = field(default_factory=dict)
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    picture_noise: float = NOISE


@dataclass(frozen=True)
class Study:
    """What is no recall table: judged relevance, classification, Table 1, 7 or 8.

    Attributes:
        systems, queries, k: of the judging (`omnisearch.evaluation.judging`).
        labels: a labels file (`evaluation.classification.labels`); '' for the interests of the
            sample world's queries.
        searches: of the simulated users of Tables 7 and 8.
    """

    title: str
    pins: int = 20_000
    preset: str = "demo"
    train: dict[str, Any] = field(default_factory=dict)
    systems: tuple[str, ...] = ("token", "embedding")
    queries: int = 300
    k: int = 8
    labels: str = ""
    searches: int = 20_000


def load_table(name: str, path: Path | None = None) -> Table:
    """The table of that name, or of the file `path`.

    A file without models changes the table of that name: it has what the file does not say.

    Raises:
        InputError: there is no such table, or the file is invalid; the error names the entry.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise InputError(
            f"{name!r} cannot name a table's files.", how="Use letters, digits, - and _."
        )
    if path is None:
        if name not in TABLES:
            raise InputError(
                f"There is no table {name!r}.",
                how=f"Choose one of {', '.join(NAMES)}, or give --config FILE.",
            )
        path = _FOLDER / f"{name}.toml"
    values = _read(path)
    if name in TABLES and "models" not in values:
        values = _read(_FOLDER / f"{name}.toml") | values
    models = tuple(_made(Model, row, path, "models") for row in _rows(values, "models", path))
    if not models:
        raise InputError("The table has no models.", where=str(path), how="Add a [[models]].")
    findings = tuple(
        _made(Finding, row, path, "findings") for row in _rows(values, "findings", path)
    )
    table: Table = _made(Table, values | {"models": models, "findings": findings}, path, "")
    _check(table, path)
    return table


def load_study(name: str, path: Path | None = None) -> Study:
    """The study of that name (STUDIES), changed by the file `path`; raises InputError."""
    usual = _FOLDER / f"{name}.toml"
    values, path = _read(usual) | (_read(path) if path else {}), path or usual
    study: Study = _made(Study, values, path, "")
    _check_train(study.preset, study.train, str(path))
    return study


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"The table cannot be read ({why}).", where=str(path)) from error


def _rows(values: dict[str, Any], key: str, path: Path) -> list[Any]:
    rows = values.pop(key, [])
    if not isinstance(rows, list):
        raise InputError(f"{key} is of the wrong type.", where=str(path), how=f"Use [[{key}]].")
    return rows


def _made(kind: Any, values: Any, path: Path, where: str) -> Any:
    """A dataclass from a table of TOML; lists become tuples."""
    place = f"{path} {where}".strip()
    if not isinstance(values, dict):
        raise InputError("This is not a table.", where=place)
    unknown = values.keys() - {entry.name for entry in fields(kind)}
    if unknown:
        raise InputError(f"Unknown entries: {', '.join(sorted(unknown))}.", where=place)
    for entry in fields(kind):
        allowed = _TYPES[str(entry.type).partition("[")[0].partition(" ")[0]]
        if entry.name in values and not isinstance(values[entry.name], allowed):
            raise InputError(f"{entry.name} is of the wrong type.", where=place)
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise InputError(f"Something is missing ({error}).", where=place) from error


def _check(table: Table, path: Path) -> None:
    names = {model.name for model in table.models}
    if len(names) < len(table.models):
        raise InputError("Two models have one name.", where=str(path))
    unmeasured = set(table.decides) - set(table.columns)
    if unmeasured:
        raise InputError(
            f"{', '.join(sorted(unmeasured))} cannot decide: not one of the columns.",
            where=f"{path} decides",
        )
    for column, figures in table.paper.items():
        known = isinstance(figures, dict) and all(
            isinstance(figure, (int, float)) for figure in figures.values()
        )
        if not known:
            raise InputError("Write figures as model = number.", where=f"{path} {column}")
    for model in table.models:
        if model.space not in SPACES:
            raise InputError(
                f"{model.space!r} is not a space.",
                where=f"{path} {model.name}",
                how="Choose learned or compat.",
            )
        unknown = set(model.fields or ()) - set(TEXT_FIELDS)
        if unknown:
            raise InputError(
                f"Unknown text fields: {', '.join(sorted(unknown))}.",
                where=f"{path} {model.name}",
                how=f"Choose from {', '.join(TEXT_FIELDS)}.",
            )
        _check_train(table.preset, table.train | model.train, f"{path} {model.name}")
    for finding in table.findings:
        missing = {finding.model, finding.than} - names
        if missing:
            raise InputError(
                f"A finding names {', '.join(sorted(missing))}, which the table has no model for.",
                where=str(path),
            )


def _check_train(preset: str, train: dict[str, Any], where: str) -> None:
    try:
        preset_config(preset, **train)
    except TypeError as error:
        raise InputError(f"Unknown settings of the training ({error}).", where=where) from error
