"""Help, start-up, settings and errors of the command line, without a workspace."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from commandline import omnisearch

from omnisearch.cli.docs import PAGE, reference
from omnisearch.cli.main import app

COMMANDS = (
    *("world", "import", "enrich", "train", "index", "search", "compare", "evaluate", "rank"),
    *("cache", "status", "demo"),
)


def leaves(command: typer.main.click.Command, path: tuple[str, ...] = ()) -> list:
    if not hasattr(command, "list_commands"):
        return [(path, command)]
    at = typer.Context(command)
    children = {name: command.get_command(at, name) for name in command.list_commands(at)}
    return [leaf for name, child in children.items() for leaf in leaves(child, (*path, name))]


def test_all_commands_are_there_and_each_shows_an_example() -> None:
    root = typer.main.get_command(app)
    assert set(COMMANDS) <= set(root.commands)
    for path, command in leaves(root):
        assert command.help, path
        assert f"omnisearch {' '.join(path)}" in (command.epilog or ""), path


def test_the_reference_in_docs_is_that_of_the_commands() -> None:
    page = (Path(__file__).parents[2] / PAGE).read_text("utf-8")
    assert page == reference(), "Run `make docs`."


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'lightgbm', 'scipy', 'hnswlib'}"
    code = f"import sys, omnisearch.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_quick() -> None:
    """By the processor's time, for which nothing else that runs here counts."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        omnisearch("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 1.0  # 0.2 to 0.4 s on a quiet core


def test_without_a_workspace_the_first_step_is_named(tmp_path: Path) -> None:
    done = omnisearch("search", "sofa", "-w", tmp_path / "none", check=False)
    assert done.returncode == 3
    assert "omnisearch import" in done.stderr
    assert not (tmp_path / "none").exists()


def test_an_error_is_an_envelope_too(tmp_path: Path) -> None:
    done = omnisearch("status", "-w", tmp_path, "--json", check=False)
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    assert found["error"]["exit_code"] == done.returncode == 3


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = omnisearch("status", "-w", tmp_path, "--debug", check=False)
    assert "Traceback" in done.stderr


def test_unknown_settings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pins.jsonl").write_text('{"id": "a", "title": "a chair"}\n')
    omnisearch("import", tmp_path / "pins.jsonl", "-w", tmp_path / "ws")
    (tmp_path / "ws" / "omnisearch.toml").write_text("[train]\nstepz = 3\n")
    done = omnisearch("train", "-w", tmp_path / "ws", "--preset", "tiny", check=False)
    assert done.returncode == 2
    assert "stepz" in done.stderr
    (tmp_path / "ws" / "omnisearch.toml").write_text("")
    monkeypatch.setenv("OMNISEARCH_TRAIN_STEPS", "many")
    done = omnisearch("train", "-w", tmp_path / "ws", "--preset", "tiny", check=False)
    assert done.returncode == 2
    assert "OMNISEARCH_TRAIN_STEPS" in done.stderr


def test_the_version_is_told() -> None:
    assert omnisearch("--version").stdout.strip() == f"OmniSearch {version('omnisearchsage')}"


def test_the_option_that_was_renamed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    done = omnisearch("import", tmp_path / "a.npy", "--feature", "pinsage", check=False)
    assert done.returncode == 2
    assert "--vectors pinsage" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("reproduce", "table99"), "table1, table2, table3, table4, table5, table6, table7"),
        (("reproduce", "table1", "--worlds", 2), "one world"),
        (("compare", "sofa", "--systems", "token,magic"), "'magic'"),
        (("compare", "sofa", "--queries", "all.tsv"), "both given"),
        (("compare",), "Neither a query nor --queries"),
        (("compare", "--queries", "no-such.tsv"), "no-such.tsv"),
        (("compare", "sofa", "--html", "no-such-folder/page.html"), "no-such-folder"),
        (("evaluate", "--systems", "magic"), "'magic'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_heavy_is_imported(
    words: tuple[object, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = (
        "import atexit, sys; from omnisearch.cli.main import main\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'scipy', 'sqlite_utils'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules))))\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert says in " ".join(done.stderr.split())
    assert done.stdout.strip() == "[]"
