"""Fixtures of the enrichment tests: an empty catalogue, and a training of few steps."""

from __future__ import annotations

import pytest
import torch

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.enrichment.graph import training


def pytest_configure() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def db(workspace):
    """An empty catalogue."""
    db = open_catalogue(workspace.catalogue, create=True)
    yield db
    db.conn.close()


@pytest.fixture
def quick(monkeypatch):
    """For tests that do not ask how good the vectors are."""
    monkeypatch.setattr(training, "FEWEST", 4)
    monkeypatch.setattr(training, "EPOCHS", 0)
