"""The entry point of `omnisearch`: assembles the commands and prints errors as paragraphs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from omnisearch.cli import (
    ads,
    backup,
    cache,
    catalogue,
    classify,
    compare,
    demo,
    encode,
    enrich,
    evaluate,
    experiment,
    experiment_replay,
    export,
    importing,
    index,
    judge,
    keys,
    rank,
    refresh,
    reproduce,
    rules,
    search,
    serve,
    status,
    suggest,
    train,
    watch,
    world,
)
from omnisearch.cli.common import EXIT_CODES, Commands, err, explained, fail

app = typer.Typer(
    name="omnisearch",
    cls=Commands,
    help="Embedding-based search for pins, products and related queries: one query embedding "
    "through the whole search stack.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"OmniSearch {version('omnisearchsage')}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error.", envvar="OMNISEARCH_DEBUG"),
    ] = False,
) -> None:
    pass


ONE_COMMAND = (
    *(world, importing, train, search, suggest, compare, evaluate, reproduce, serve, refresh),
    *(watch, status, demo, backup, encode),
)
for module in ONE_COMMAND:
    module.register(app)
app.add_typer(export.app, name="export")
app.add_typer(enrich.app, name="enrich")
app.add_typer(index.app, name="index")
app.add_typer(rank.app, name="rank")
app.add_typer(rules.app, name="rules")
experiment_replay.register(experiment.app)
app.add_typer(experiment.app, name="experiment")
app.add_typer(ads.app, name="ads")
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(cache.app, name="cache")
app.add_typer(judge.app, name="judge")
app.add_typer(keys.app, name="keys")
app.add_typer(classify.app, name="classify")


def main() -> None:
    """Run the command line; ends the process with a documented exit status."""
    debug = "--debug" in sys.argv or os.environ.get("OMNISEARCH_DEBUG", "0") not in ("", "0")
    # `--debug` is accepted anywhere, since it is added after something has gone wrong.
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "omnisearch")
    # Files are fetched from a hub only if a hub name is given; silence mere advertising.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except KeyboardInterrupt:
        err.print("Interrupted. Finished work is kept.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except SystemExit:
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if debug:
            raise
        sys.exit(fail(explained(error, command), command))
