"""The commands and the program of the pages on data sets do what the pages say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = re.compile(r"^    omnisearch (.*)$", re.MULTILINE)
PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)
MAIN = "from omnisearch.cli.main import main; main()"


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "OMNISEARCH_WORKSPACE"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_guide_and_the_program_of_the_reference_run(
    trained: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(trained.root, tmp_path / "workspace")
    commands = COMMAND.findall((DOCS / "guide" / "datasets.md").read_text("utf-8"))
    said = [run(tmp_path, MAIN, *command.split()) for command in commands]
    assert [words.split()[0] for words in commands] == [*["catalogue"] * 3, "encode"]
    assert (tmp_path / "shop-copy" / "catalogue.db").is_file()
    assert "48 files, 48 of them encoded now" in said[-1]
    (program,) = PROGRAM.findall((DOCS / "reference" / "datasets.md").read_text("utf-8"))
    printed = run(tmp_path, program)
    db = open_catalogue(trained.catalogue)
    sums = dict(db.conn.execute("SELECT action, SUM(count) FROM engagements GROUP BY action"))
    db.conn.close()
    assert sums and all(str(number) in printed for number in sums.values())
