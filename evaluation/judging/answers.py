"""The judges' answers: one file per judge, one line per answer, synced to disk after each answer.

A line is {"pair", "grade", "time"}: a grade of the form, or null for "cannot tell". The last line
about a pair counts; {"pair", "undone": true, "time"} takes the answer back. A last line truncated
by a crash is ignored, and removed when the judge continues.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson

from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import fsync_folder
from omnisearch.data.workspace.locks import locked
from omnisearch.evaluation.judging.folder import Judging, Pair, check_name
from omnisearch.evaluation.judging.scale import WANTED

Answers = dict[str, int | None]  # pair → grade, None for "cannot tell"; the latest answer last


def answers_of(judging: Judging, judge: str) -> Answers:
    """A judge's answers that were not taken back; empty for a judge without a file.

    Raises:
        Corrupt: a complete line is not a valid answer.
    """
    path = _path(judging, judge)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    answers: Answers = {}
    values = judging.form.values
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            entry = orjson.loads(line)
            pair, undone = str(entry["pair"]), entry.get("undone") is True
            grade = None if undone else entry["grade"]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, number) from error
        whole = type(grade) is int and grade in values  # true and 5.0 are equal to whole numbers
        if pair not in judging.pairs or not (grade is None or whole):
            raise _damaged(path, number)
        answers.pop(pair, None)
        if not undone:
            answers[pair] = grade
    return answers


def all_answers(judging: Judging) -> dict[str, Answers]:
    """judge → answers, sorted by name; judges without answers are left out."""
    judges = sorted(path.stem for path in judging.answers.glob("*.jsonl"))
    return {judge: found for judge in judges if (found := answers_of(judging, judge))}


def still_to_ask(judging: Judging, judge: str) -> list[Pair]:
    """The pairs that this judge has not answered and that have fewer than WANTED judgments, in the
    judging's order. "Cannot tell" is an answer, but not a judgment."""
    answers = all_answers(judging)
    own = answers.get(judge, {})
    grades = count_grades(answers)
    return [
        pair
        for key, pair in judging.pairs.items()
        if key not in own and grades.get(key, 0) < WANTED
    ]


def count_grades(answers: Mapping[str, Answers]) -> dict[str, int]:
    """pair → number of judgments from all judges; pairs without any are left out."""
    counts: dict[str, int] = {}
    for of_judge in answers.values():
        for pair, grade in of_judge.items():
            if grade is not None:
                counts[pair] = counts.get(pair, 0) + 1
    return counts


class AnswerLog:
    """The file of one judge, locked and open for appending."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, answers: Mapping[str, int | None]) -> None:
        """Append answers; they are synced to disk when this returns."""
        now = int(time.time())
        self._write([{"pair": pair, "grade": g, "time": now} for pair, g in answers.items()])

    def undo(self, pair: str) -> None:
        """Take back the answer to a pair."""
        self._write([{"pair": pair, "undone": True, "time": int(time.time())}])

    def _write(self, entries: list[dict]) -> None:
        self._file.write(b"".join(orjson.dumps(entry) + b"\n" for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_log(judging: Judging, judge: str) -> Iterator[AnswerLog]:
    """The log of a judge, created if missing.

    Raises:
        InputError: the judge's name is not a valid file name, or another process holds the log.
    """
    path = _path(judging, judge)
    path.parent.mkdir(exist_ok=True)
    busy = InputError(
        f"{judge} is judging in another window, or a file of {judge}'s is being imported.",
        where=str(path),
        how="Finish that first, or judge under another name.",
    )
    with locked(path, busy) as file:
        _cut_torn_line(file)
        fsync_folder(path.parent)
        yield AnswerLog(file)


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
        os.fsync(file.fileno())


def _path(judging: Judging, judge: str) -> Path:
    return judging.answers / f"{check_name(judge, 'judge')}.jsonl"


def _damaged(path: Path, number: int) -> Corrupt:
    return Corrupt(
        "The line is not a valid answer about a pair of this judging.",
        where=f"{path}:{number}",
        how="Delete this line; the other answers are kept.",
    )
