"""A small catalogue shared by the tests of this room, and encoders trained on it for a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlite_utils
import torch
from small_catalogue import COLOURS, THEMES, fill
from transformers import BertConfig, BertModel

from omnisearch.data.workspace import Workspace
from omnisearch.encoders.config import Config, preset_config
from omnisearch.encoders.training.run import StepReport, train
from omnisearch.encoders.training.wordpiece import train_wordpiece


def pytest_configure() -> None:
    torch.set_num_threads(1)


@dataclass
class Small:
    """The workspace of the small catalogue. Train under your own name in it; change nothing."""

    workspace: Workspace
    db: sqlite_utils.Database

    def train(self, name: str, config: Config, **options: object) -> tuple[Path, list[StepReport]]:
        reports: list[StepReport] = []
        folder = train(
            self.workspace, self.db, config, name=name, on_step=reports.append, **options
        )
        return folder, reports


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    workspace = Workspace.create(tmp_path_factory.mktemp("small") / "workspace")
    return Small(workspace, fill(workspace))


@pytest.fixture(scope="session")
def config() -> Config:
    """Small enough to train in a second; PinSage (16) is projected, ItemSage (32) is not."""
    return preset_config("tiny", dim=32, steps=40, valid_every=20, table_rows=500, warm_steps=0)


@pytest.fixture(scope="session")
def trained(small: Small, config: Config) -> tuple[Path, list[StepReport]]:
    """The checkpoint 'default' of `small`, and its steps."""
    return small.train("default", config)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with weights in a folder, as a hub would give it."""
    folder = tmp_path_factory.mktemp("backbone")
    words = [word for theme, names in THEMES.items() for word in (theme, *names)]
    tokeniser = train_wordpiece([*words, *COLOURS, "a picture of"], 200)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(tokeniser),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
    )
    BertModel(shape).save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder
