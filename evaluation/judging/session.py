"""Judging in the terminal: one pair at a time, one key per grade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from omnisearch.evaluation.judging.answers import AnswerLog, answers_of, open_log, still_to_ask
from omnisearch.evaluation.judging.folder import Judging, Pair
from omnisearch.evaluation.judging.scale import CANNOT_TELL, CAPTIONS, Form
from omnisearch.evaluation.wording import price_text

UNDO, QUIT = "u", "q"
_ENDS = ("", QUIT, "\x03", "\x04")  # end of input, q, Ctrl-C, Ctrl-D

ReadKey = Callable[[], str]
Show = Callable[[RenderableType], None]


def ask(
    judging: Judging, judge: str, folders: Sequence[Path], read_key: ReadKey, show: Show
) -> int:
    """Ask about pairs until none is left or the judge quits; returns how many are left.

    Each answer is synced to disk before the next question. Pairs that other judges complete in
    the meantime are skipped.

    Args:
        folders: base folders for relative paths of pictures.
        read_key: the next key; "" at the end of input.

    Raises:
        InputError: the name is invalid, or the judge is judging in another window.
    """
    with open_log(judging, judge) as log:
        show(_legend(judging.form))
        while left := still_to_ask(judging, judge):
            show(question(judging, left[0], len(left), folders))
            if not _answered(judging, judge, log, left[0], read_key, show):
                break
    return len(left)


def _answered(
    judging: Judging, judge: str, log: AnswerLog, pair: Pair, read_key: ReadKey, show: Show
) -> bool:
    """Read keys until one is valid; returns False to quit."""
    values = judging.form.values
    keys: dict[str, int | None] = {**{str(value): value for value in values}, CANNOT_TELL: None}
    while True:
        key = read_key().lower()
        if key in _ENDS:
            return False
        if key in keys:
            log.add({pair.id: keys[key]})
            return True
        if key == UNDO:
            given = answers_of(judging, judge)
            if given:
                log.undo(list(given)[-1])
                show(Text("Taken back.", "yellow"))
                return True
            show(Text("There is no answer to take back.", "yellow"))
        else:
            show(Text(f"Press 1 to {values[-1]}, {CANNOT_TELL}, {UNDO} or {QUIT}.", "yellow"))


def question(judging: Judging, pair: Pair, left: int, folders: Sequence[Path]) -> RenderableType:
    """A pair as the judge sees it, as plain text without markup."""
    total = len(judging.pairs)
    done = Text(f"\n{total - left:,} of {total:,} pairs done", "dim")
    place = picture_place(pair.image, folders)
    if judging.design.form == CAPTIONS:
        caption = Text.assemble("Caption ", (pair.text, "bold cyan"))
        return Group(done, caption, Text.assemble("Picture ", (place, "bold")))
    lines = [
        done,
        Text.assemble("Query  ", (pair.text, "bold cyan")),
        Text.assemble("Result ", (pair.title or f"untitled {pair.entity}", "bold")),
    ]
    about = [pair.brand, price_text(pair.price, pair.currency)]
    lines += [Text(f"       {part}") for part in (pair.description, *about) if part]
    lines += [Text(f"       {each}", "dim") for each in (place, pair.link) if each]
    return Group(*lines)


def picture_place(image: str, folders: Sequence[Path]) -> str:
    """The URL of a picture, or its path if the file is on this machine."""
    try:
        paths = (folder / image for folder in folders)
        return next((str(path) for path in paths if image and path.is_file()), image)
    except (OSError, ValueError):
        return image


def _legend(form: Form) -> RenderableType:
    grades = reversed(form.grades)
    lines = [Text(f"{grade.value}  {grade.name}: {grade.meaning}") for grade in grades]
    lines.append(Text(f"{CANNOT_TELL}  cannot tell"))
    lines.append(Text(f"{UNDO}  take back the last answer"))
    lines.append(Text(f"{QUIT}  quit; continue at any time"))
    return Group(*lines)
