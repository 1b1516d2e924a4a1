"""`omnisearch train`: what it says of a training that is to be continued."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.workspace import Workspace


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Path:
    """A shop whose default training has ended."""
    shutil.copytree(trained.root, tmp_path / "shop")
    return tmp_path / "shop"


def train(shop: Path, *words: str) -> str:
    command = ["train", "--preset", "tiny", "--resume", "-w", str(shop), *words]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_nothing_to_continue_is_told(shop: Path) -> None:
    told = train(shop, "--name", "new", "--steps", "2")
    assert "No training named new was interrupted: a new one begins." in told
    told = train(shop, "--steps", "4")
    assert "The training named default has ended: there is nothing to continue." in told
    found = json.loads(train(shop, "--steps", "4", "--json"))
    assert found["data"]["resumed"] is False


def test_a_training_that_is_continued_says_so_to_programs(shop: Path) -> None:
    (shop / "checkpoints" / "default" / "BEST").unlink()  # it was killed before its end
    assert json.loads(train(shop, "--steps", "4", "--json"))["data"]["resumed"] is True
