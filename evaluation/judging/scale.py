"""The forms that judges fill in: what is graded, and the grades.

Results (§5.1): the paper marks them as relevant or irrelevant (Figure 5) and names no scale.
Grades from RELEVANT_FROM up are relevant: a result that meets only part of the query is
irrelevant, as in Figure 5.

Captions (§3.2.1): judged by relevance and by quality. The paper gives the shares of those with
both and with neither, so one question with four answers yields them.
"""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.importers.value_checks import MAX_TEXT, Refused

WANTED = 3  # judgments of a pair (§3.2.1, §5.1)
RELEVANT_FROM = 4
CANNOT_TELL = "?"


@dataclass(frozen=True)
class Grade:
    """One step of a scale."""

    value: int
    name: str
    meaning: str


@dataclass(frozen=True)
class Form:
    """What judges are asked.

    Attributes:
        text: what the text of a pair is called.
        columns: the columns of a sheet, without that of the grade.
        grades: the best first, with values from their number down to 1.
    """

    text: str
    columns: tuple[str, ...]
    grades: tuple[Grade, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the grades, ascending."""
        return tuple(sorted(grade.value for grade in self.grades))

    @property
    def legend(self) -> str:
        """All grades in one line."""
        named = [f"{grade.value} {grade.name}" for grade in self.grades]
        return ", ".join([*named, f"{CANNOT_TELL} cannot tell"])

    def parse(self, text: str) -> int | None:
        """A grade as a spreadsheet may write it ('4', ' 4 ', '4.0', '4,0'); None for "cannot tell".

        Raises:
            Refused: anything else.
        """
        stripped = text.strip()
        if stripped.casefold() in (CANNOT_TELL, "cannot tell"):
            return None
        whole, _, part = stripped.replace(",", ".").partition(".")
        if whole in map(str, self.values) and not part.strip("0"):
            return int(whole)
        most = len(self.grades)
        raise Refused("grade", f"is not one of 1 to {most} or {CANNOT_TELL}", text[:MAX_TEXT])


RESULTS, CAPTIONS = "results", "captions"
FORMS = {
    RESULTS: Form(
        "query",
        (
            *("pair", "judge", "query", "title", "description", "brand", "price"),
            *("picture", "link"),
        ),
        (
            Grade(5, "highly relevant", "just what the query asks for"),
            Grade(4, "relevant", "fits, though something better can be thought of"),
            Grade(3, "partly relevant", "meets one part of the query and misses another"),
            Grade(2, "irrelevant", "of the same field at most"),
            Grade(1, "highly irrelevant", "has nothing to do with the query"),
        ),
    ),
    CAPTIONS: Form(
        "caption",
        ("pair", "judge", "caption", "picture"),
        (
            Grade(4, "relevant and of high quality", "says well what the picture shows"),
            Grade(3, "relevant but of poor quality", "fits, but is vague, garbled or repetitive"),
            Grade(2, "irrelevant but of high quality", "reads well, but shows something else"),
            Grade(1, "irrelevant and of poor quality", "neither fits nor reads well"),
        ),
    ),
}
VALUES = FORMS[RESULTS].values
# What a grade of a result is worth in the catalogue, in 0..1: at least
# `omnisearch.evaluation.judged.RELEVANT` from RELEVANT_FROM up, less below it.
GAINS = {5: 1.0, 4: 0.7, 3: 0.3, 2: 0.1, 1: 0.0}
