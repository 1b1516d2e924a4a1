"""What all commands share: options, the JSON envelope, progress bars and error rendering."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from omnisearch.data.workspace.errors import OmniError

SCHEMA_VERSION = 1

EXIT_CODES = """\b
Exit status: 0 done, 1 an unexpected error, 2 unusable input or options,
3 a required earlier step has not been run, 4 a damaged file,
5 another process is doing it already, 6 a step of a refresh failed, 130 interrupted."""

WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="OMNISEARCH_WORKSPACE",
        help="The workspace folder, which contains everything.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON envelope on stdout instead of text.")
]
DEFAULT_WORKSPACE = Path("workspace")
_SOON = 5.0  # seconds after which the time left can be told
_ENOUGH = 10  # parts done by then: the first are slow

out = Console()
err = Console(stderr=True)


def example(*commands: str) -> str:
    """The epilog of a command's help: its examples."""
    return "Example:\n\n" + "\n\n".join(f"`{command}`" for command in commands)


class SystemsCommand(TyperCommand):
    """A command whose help has {systems} or {evaluated}, which are filled in when it runs."""

    def get_params(self, ctx: Any) -> list[Any]:
        from omnisearch.engine.systems import SYSTEMS, evaluated_systems

        names = {"{systems}": ", ".join(SYSTEMS), "{evaluated}": ",".join(evaluated_systems())}
        params: list[Any] = super().get_params(ctx)
        for option in (each for each in params if each.name in ("system", "systems")):
            for mark, listed in names.items():
                option.help = option.help.replace(mark, listed)
        return params


class Commands(TyperGroup):
    """All commands. Click would say only "Aborted." of an EOFError, such as of an empty file."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise explained(error, ctx.invoked_subcommand or "") from error


def emit_json(command: str, data: Any, **extra: Any) -> None:
    """Print the envelope: {"schema_version", "command", ..., "data"}."""
    print_json({"schema_version": SCHEMA_VERSION, "command": command, **extra, "data": data})


def print_json(envelope: dict[str, Any]) -> None:
    import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    text = orjson.dumps(envelope, default=str, option=option)
    sys.stdout.write(text.decode() + "\n")


def explained(error: BaseException, command: str) -> OmniError:
    """An error as one for the user: its cause, the damage of a catalogue, or a bug."""
    import sqlite3

    from omnisearch.data.catalogue.schema import catalogue_error, corrupt_catalogue, opened
    from omnisearch.data.catalogue.verify import damage_of
    from omnisearch.data.workspace import causes

    for catalogue in () if isinstance(error, OmniError) else opened:
        if isinstance(error, sqlite3.Error):
            return catalogue_error(error, catalogue)
        if causes.cause_of(error) is None and (damage := damage_of(catalogue)):
            return corrupt_catalogue(f"The catalogue is damaged. {damage}", catalogue)
    return causes.explained(error, command)


def fail(error: OmniError, command: str) -> int:
    """Print one readable paragraph (or the envelope, with --json); returns the exit status."""
    if "--json" in sys.argv:
        reason = {"what": error.what, "where": error.where, "how": error.how}
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "command": command,
                "error": {**reason, "exit_code": error.exit_code},
            }
        )
    where = f"{error.where}: " if error.where else ""
    err.print("[bold red]Error:[/] ", end="")
    err.print(f"{where}{error.what} {error.how}".rstrip(), markup=False, highlight=False)
    return error.exit_code


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields a callback (done, total). A total of 0 means unknown.

    Where it will take minutes, a line says so after some seconds. Counting from 0 begins anew.
    """
    with _bar(title) as update:
        began, first, before, told = 0.0, 0, -1, False

        def advance(done: int, total: int) -> None:
            nonlocal began, first, before, told
            if done < before or before < 0:  # what is opened before the first count tells nothing
                began, first, told = time.monotonic(), done, False
            before = done
            passed, since = time.monotonic() - began, done - first
            if since >= _ENOUGH and total and not told and passed > _SOON:
                told = True
                left = passed * (total - done) / since
                if left > 60:
                    err.print(f"{title}: {done:,} of {total:,}, about {_minutes(left)} left.")
            update(completed=done, total=total or None)

        yield advance


@contextmanager
def training_bar() -> Iterator[tuple[Callable[[int, int], None], Callable[[Any], None]]]:
    """A bar on stderr; yields the trainer's `progress` and `on_step` callbacks.

    After three steps, of which the first is slow, a line tells how long the training will take.
    """
    with _bar("preparing", "{task.fields[speed]}", speed="") as update:
        done = 0

        def on_step(step: Any) -> None:
            nonlocal done
            done += 1
            if done == 3:
                import torch  # by now it is loaded; the bar must not wait for it

                about = _minutes(step.seconds * (step.steps - step.step))
                threads = torch.get_num_threads()
                of_cpu = f"{threads} CPU thread" + ("s" if threads > 1 else "")
                err.print(f"{step.steps:,} steps take about {about} with {of_cpu}.")
            speed = f"loss {step.loss:.3f}  {step.pairs_per_second:,.0f} pairs/s"
            update(description="training", completed=step.step, total=step.steps, speed=speed)

        yield lambda done, total: update(completed=done, total=total or None), on_step


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return "a minute" if minutes == 1 else f"{minutes:,} minutes"


@contextmanager
def _bar(title: str, figures: str = "", **fields: Any) -> Iterator[Callable[..., None]]:
    """A bar on stderr with the time that is left; yields its update.

    The bar is cleared if the start fails.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    left = TimeRemainingColumn(elapsed_when_finished=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TextColumn(figures)] if figures else []
    with Progress(*columns, left, console=err) as bars:
        task = bars.add_task(title, total=None, **fields)
        try:
            yield partial(bars.update, task)
        except OmniError:
            bars.update(task, visible=bars.tasks[0].completed > 0)
            raise


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table on stdout; cells are text, never markup."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        grid.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        grid.add_row(*(Text(cell if isinstance(cell, str) else _number(cell)) for cell in row))
    out.print(grid)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
