"""The five grades that a judge may give, and what counts as relevant.

The paper marks results as relevant or irrelevant (§5.1, Figure 5) and names no scale. Grades from
RELEVANT_FROM up are relevant: a result that meets only part of the query is irrelevant, as in
Figure 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.importers.value_checks import MAX_TEXT, Refused

WANTED = 3  # judgments of a pair (§5.1)
RELEVANT_FROM = 4
CANNOT_TELL = "?"


@dataclass(frozen=True)
class Grade:
    """One step of the scale.

    `gain` in 0..1 is the grade's value in the catalogue's judgments: at least
    `omnisearch.evaluation.judged.RELEVANT` from RELEVANT_FROM up, less below it.
    """

    value: int
    name: str
    meaning: str
    gain: float


GRADES = (
    Grade(5, "highly relevant", "just what the query asks for", 1.0),
    Grade(4, "relevant", "fits, though something better can be thought of", 0.7),
    Grade(3, "partly relevant", "meets one part of the query and misses another", 0.3),
    Grade(2, "irrelevant", "of the same field at most", 0.1),
    Grade(1, "highly irrelevant", "has nothing to do with the query", 0.0),
)
VALUES = tuple(sorted(grade.value for grade in GRADES))
LEGEND = (
    ", ".join(f"{grade.value} {grade.name}" for grade in GRADES) + f", {CANNOT_TELL} cannot tell"
)


def parse_grade(text: str) -> int | None:
    """A grade as a spreadsheet may write it ('4', ' 4 ', '4.0', '4,0'); None for "cannot tell".

    Raises:
        Refused: anything else.
    """
    stripped = text.strip()
    if stripped.casefold() in (CANNOT_TELL, "cannot tell"):
        return None
    whole, _, part = stripped.replace(",", ".").partition(".")
    if len(whole) == 1 and whole in "12345" and not part.strip("0"):
        return int(whole)
    raise Refused("grade", "is not one of 1 to 5 or ?", text[:MAX_TEXT])
