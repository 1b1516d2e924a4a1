"""How far long work is: a bar in a terminal, a plain line every ten seconds elsewhere.

What is counted differs (bytes of a file, items twice, steps of a training): people read percents.
Both go to stderr, and tell how long the rest will take as soon as enough is done to measure it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omnisearch.cli.common import err
from omnisearch.data.workspace.errors import OmniError

_SOON = 5.0  # seconds after which the time left can be told
_ENOUGH = 10  # parts done by then: the first are slow
_EVERY = 10.0  # seconds between two lines where there is no terminal

Update = Callable[..., None]  # completed=, total=, and of a training description=, speed=


@contextmanager
def progress(title: str, *then: str) -> Iterator[Callable[[int, int], None]]:
    """Shows progress on stderr; yields a callback (done, total). A total of 0 means unknown.

    Where it will take minutes, a line says so after some seconds. Counting from 0 begins anew, with
    the next of the titles in `then` if there is one.
    """
    with _shown(title) as update:
        pace, before, told, titles = Pace(), -1, False, [title, *then]

        def advance(done: int, total: int) -> None:
            nonlocal before, told
            if done < before:
                told, titles[:-1] = False, titles[1:-1]
            before = done
            left = pace.left(done, total)
            if err.is_terminal and not told and left > 60:
                told = True
                _say(f"{titles[0]}: {part(done, total)}, {about(left)} left on {cores()}.")
            update(description=titles[0], completed=done, total=total or None, left=left)

        yield advance


@contextmanager
def training_bar() -> Iterator[tuple[Callable[[int, int], None], Callable[[Any], None]]]:
    """Shows a training on stderr; yields the trainer's `progress` and `on_step` callbacks.

    After three steps, of which the first is slow, a line tells how long the training will take.
    """
    with _shown("preparing", "{task.fields[speed]}", speed="") as update:
        done = 0

        def on_step(step: Any) -> None:
            nonlocal done
            done += 1
            left = step.seconds * (step.steps - step.step)
            if done == 3:
                import torch  # by now it is loaded; the bar must not wait for it

                of_cpu = cores(torch.get_num_threads())
                _say(f"{step.steps:,} steps take {about(left)} on {of_cpu}.")
            speed = f"loss {step.loss:.3f}  {step.pairs_per_second:,.0f} pairs/s"
            update(
                description=f"training, step {step.step:,} of {step.steps:,}",
                completed=step.step,
                total=step.steps,
                speed=speed,
                left=left if done >= 3 else 0.0,
            )

        yield lambda done, total: update(completed=done, total=total or None), on_step


class Pace:
    """How long counted work will take, from how long its first parts took."""

    def __init__(self) -> None:
        self._began, self._first, self._before = 0.0, 0, -1

    def left(self, done: int, total: int) -> float:
        """Seconds until `total`; 0 as long as too little was done to tell.

        A count below the last one begins anew.
        """
        if done < self._before or self._before < 0:  # what is opened before tells nothing
            self._began, self._first = time.monotonic(), done
        self._before = done
        passed, since = time.monotonic() - self._began, done - self._first
        enough = since >= _ENOUGH and total and passed > _SOON
        return passed * (total - done) / since if enough else 0.0


def part(done: int, total: int | None) -> str:
    """How much is done, as a percentage; as a number where the total is not known."""
    return f"{min(100 * done // total, 100)}%" if total else f"{done:,}"


def about(seconds: float) -> str:
    """A length of time as people say it: 'about 6 minutes'."""
    if seconds >= 5400:
        return f"about {seconds / 3600:.1f} hours"
    minutes = max(1, round(seconds / 60))
    return "about a minute" if minutes == 1 else f"about {minutes:,} minutes"


def cores(number: int | None = None) -> str:
    """'2 cores': those that this process may use, or a number of them."""
    if number is None:
        number = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    return f"{number} core" + ("s" if number > 1 else "")


@contextmanager
def _shown(title: str, figures: str = "", **fields: Any) -> Iterator[Update]:
    with _bar(title, figures, **fields) if err.is_terminal else _lines(title) as update:
        yield update


@contextmanager
def _bar(title: str, figures: str, **fields: Any) -> Iterator[Update]:
    """A bar with the time that is left. It is cleared if the start fails."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    remaining = TimeRemainingColumn(elapsed_when_finished=True)
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[part]}")]
    columns += [TextColumn(figures)] if figures else []
    with Progress(*columns, remaining, console=err) as bars:
        task = bars.add_task(title, total=None, part="", **fields)

        def update(
            *, completed: int, total: int | None = None, left: float = 0.0, **more: Any
        ) -> None:
            bars.update(task, completed=completed, total=total, part=part(completed, total), **more)

        try:
            yield update
        except OmniError:
            bars.update(task, visible=bars.tasks[0].completed > 0)
            raise


@contextmanager
def _lines(title: str) -> Iterator[Update]:
    """A line every ten seconds, and one at the end that says how long it took."""
    began = said = time.monotonic()
    line = ""

    def update(
        *,
        completed: int,
        total: int | None = None,
        description: str = title,
        speed: str = "",
        left: float = 0.0,
    ) -> None:
        nonlocal said, line
        if not completed and not total:
            return  # nothing is known that could be told
        line = f"{description}: {part(completed, total)}"
        if time.monotonic() - said >= _EVERY:
            said = time.monotonic()
            rest = f"{about(left)} left on {cores()}" if left > 0 else ""
            _say(", ".join(each for each in (line, speed, rest) if each))

    yield update
    if line:
        _say(f"{line}, done in {time.monotonic() - began:.0f} s")


def _say(sentence: str) -> None:
    err.print(sentence, markup=False, highlight=False, soft_wrap=True)
