"""What all commands share: options, the JSON envelope, tables and error rendering."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, JustifyMethod
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.files import legible

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
        help="The folder of the shop: its data, models and indexes.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs instead of text.")
]
DEFAULT_WORKSPACE = Path("workspace")


class _Sentences(Console):
    """A console that breaks no sentence in a pipe or a file, where a path would fall apart."""

    def print(self, *objects: Any, **options: Any) -> None:
        if not self.is_terminal and all(isinstance(each, str | Text) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)


out = _Sentences()
err = _Sentences(stderr=True)


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


def systems_named(option: str | None) -> list[str] | None:
    """The names in --systems, None without it; raises InputError for one that does not exist."""
    from omnisearch.engine.systems import SYSTEMS

    if not option:
        return None
    return [SYSTEMS.named(name.strip(), "--systems").name for name in option.split(",")]


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
    """An error as one for the user: its cause, the damage of a catalogue, or a bug.

    What SQLite says is about the file that it was reading or writing, the catalogue or another; if
    that cannot be told, about the catalogue.
    """
    import sqlite3

    from omnisearch.data.catalogue.schema import catalogue_error, corrupt_catalogue, opened
    from omnisearch.data.catalogue.verify import damage_of
    from omnisearch.data.workspace import causes

    if isinstance(error, sqlite3.Error):
        file = causes.database_of(error)
        for catalogue in opened:
            if file is None or catalogue.resolve() == file.resolve():
                return catalogue_error(error, catalogue)
        if known := causes.cause_of(error, file or ""):
            return known
    for catalogue in () if isinstance(error, OmniError) else opened:
        unclear = causes.cause_of(error) is None or causes.is_damage(error)
        if unclear and (damage := damage_of(catalogue)):
            return corrupt_catalogue(f"The catalogue is damaged. {damage}", catalogue)
    return causes.explained(error, command)


def fail(error: OmniError, command: str) -> int:
    """Print one readable paragraph (or the envelope, with --json); returns the exit status."""
    if "--json" in sys.argv:
        told = {"what": error.what, "where": error.where, "how": error.how}
        reason = {part: legible(text) for part, text in told.items()}
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "command": command,
                "error": {**reason, "exit_code": error.exit_code},
                **({} if error.done is None else {"data": error.done}),
            }
        )
    where = f"{error.where}: " if error.where else ""
    err.print("[bold red]Error:[/] ", end="")
    err.print(f"{where}{error.what} {error.how}".rstrip(), markup=False, highlight=False)
    return error.exit_code


def table(
    title: str, columns: list[str], rows: list[list[Any]], justify: JustifyMethod = "right"
) -> None:
    """Print a table on stdout; cells are text, never markup, and wrapped rather than cut.

    Where not even the longest words fit beside one another, each row is a sentence of its own.
    `justify` is that of all columns but the first.
    """
    from rich.table import Table

    cells = [[cell if isinstance(cell, str) else _number(cell) for cell in row] for row in rows]
    out.print(Text(title, "bold"), soft_wrap=True)
    widths = _widths([columns, *cells], out.width - 3 * len(columns) - 1)
    if widths is None:
        for first, *others in cells:
            named = zip(columns[1:], others, strict=True)
            said = ", ".join(f"{name} {cell}" for name, cell in named if cell)
            out.print(Text(f"{first}: {said}"))
        return
    grid = Table()
    for number, (column, width) in enumerate(zip(columns, widths, strict=True)):
        side: JustifyMethod = justify if number else "left"
        grid.add_column(column, justify=side, overflow="fold", width=width)
    for row in cells:
        grid.add_row(*map(Text, row))
    out.print(grid)


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The widths of columns in so much room, without breaking a word; None if there is too little.

    The column gives way that is the most above its longest word.
    """
    from rich.cells import cell_len

    def widest(parts: Iterable[str]) -> int:
        return max(map(cell_len, parts), default=0)

    wide = [
        widest(line for cell in cells for line in cell.split("\n"))
        for cells in zip(*rows, strict=True)
    ]
    least = [
        widest(word for cell in cells for word in cell.split()) for cells in zip(*rows, strict=True)
    ]
    while sum(wide) > room:
        slack, at = max((wide[at] - least[at], at) for at in range(len(wide)))
        if slack <= 0:
            return None
        wide[at] -= 1
    return wide


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
