"""A text encoder and a shop for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from shops import DAY, TITLES, WORDS, put

from omnisearch import Workspace, pipeline
from omnisearch.data.catalogue.schema import open_catalogue


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT in a folder, as a hub would give it; WORDS are tokens of it."""
    import torch
    from transformers import BertConfig, BertModel

    from omnisearch.encoders.training.wordpiece import train_wordpiece

    folder = tmp_path_factory.mktemp("backbone")
    tokeniser = train_wordpiece(WORDS, 100)
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 48, "max_position_embeddings": 32}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokeniser), **sizes, **layers)).save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, backbone: Path) -> Workspace:
    """25 pins with text vectors, a warm start of two steps, and an index. Read only."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(backbone, folder / "bert")
    workspace = Workspace.create(folder / "workspace")
    put(workspace, folder, **{f"p{number:02}": title for number, title in enumerate(TITLES)})
    event = {"entity": "pin", "action": "save"}
    log = [
        {"query": title, "item_id": f"p{number:02}", "time": DAY * (1 + number % 20), **event}
        for number, title in enumerate(TITLES)
    ]
    (folder / "engagements.jsonl").write_bytes(b"\n".join(map(orjson.dumps, log)))
    pipeline.import_files(workspace, [folder / "engagements.jsonl"])
    pipeline.enrich(workspace, "text", backbone=str(folder / "bert"))
    pipeline.train(workspace, "tiny", steps=1, warm_steps=30)
    pipeline.build_index(workspace)
    return workspace


@pytest.fixture
def shop(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy, beside whose folder lies a copy of its text encoder."""
    shutil.copytree(made.root.parent, tmp_path / "shop")
    workspace = Workspace(tmp_path / "shop" / "workspace")
    db = open_catalogue(workspace.catalogue)
    note = {"backbone": str(tmp_path / "shop" / "bert")}
    with db.conn:
        db.conn.execute(
            "UPDATE meta SET value = json_patch(value, ?) WHERE key = 'text_encoder'",
            [orjson.dumps(note).decode()],
        )
    db.conn.close()
    return workspace
