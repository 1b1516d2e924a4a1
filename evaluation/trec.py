"""Readers of TREC's text formats: qrels (`query 0 doc grade`) and runs (`query Q0 doc rank score
tag`). Fields are separated by any white space."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, isnan
from pathlib import Path

from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.metrics import order_by_score


def read_qrels(path: Path) -> dict[str, dict[str, float]]:
    """query → document → grade.

    Raises:
        InputError: a line without four fields, a grade that is not a number, a repeated document.
    """
    qrels: dict[str, dict[str, float]] = {}
    for where, parts in _lines(path, fields=4):
        query, _, doc, text = parts
        grade = _number(text, where, "grade")
        if not isfinite(grade):
            raise InputError(f"The grade {text!r} is not finite.", where=where)
        _put(qrels.setdefault(query, {}), doc, grade, where)
    return qrels


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """query → document → score of a run file; the rank field is ignored, as in trec_eval.

    Raises:
        InputError: a line without six fields, a score that is not a number, a repeated document.
    """
    run: dict[str, dict[str, float]] = {}
    for where, parts in _lines(path, fields=6):
        query, _, doc, _, text, _ = parts
        score = _number(text, where, "score")
        if isnan(score):
            raise InputError("The score is NaN.", where=where)
        _put(run.setdefault(query, {}), doc, score, where)
    return run


def read_run(path: Path) -> dict[str, list[str]]:
    """query → documents, best first, in trec_eval's order (not the file's)."""
    return {query: order_by_score(scores) for query, scores in read_scores(path).items()}


def _lines(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError("The file cannot be read.", where=str(path), how=str(error)) from error
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split()
        where = f"{path}:{number}"
        if parts and len(parts) != fields:
            raise InputError(f"The line must have {fields} fields, got {len(parts)}.", where=where)
        if parts:
            yield where, parts


def _number(text: str, where: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"The {field} {text[:40]!r} is not a number.", where=where) from None


def _put(row: dict[str, float], doc: str, value: float, where: str) -> None:
    if doc in row:
        raise InputError(f"The document {doc!r} is listed twice for one query.", where=where)
    row[doc] = value
