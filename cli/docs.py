"""Writes docs/reference/cli.md from the commands: `python -m omnisearch.cli.docs`."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from omnisearch.cli.main import app

PAGE = Path("docs/reference/cli.md")


def reference() -> str:
    """The Markdown reference of all commands."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="omnisearch")
    return get_docs_for_click(obj=command, ctx=context, name="omnisearch").strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
