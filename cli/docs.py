"""Writes docs/reference/cli.md from the commands themselves: `python -m omnisearch.cli.docs docs/reference/cli.md`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from omnisearch.cli.main import app


def reference() -> str:
    """The Markdown reference of all commands, as docs/reference/cli.md holds it."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="omnisearch")
    return get_docs_for_click(obj=command, ctx=context, name="omnisearch").strip() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), "utf-8")
