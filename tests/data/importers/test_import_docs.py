"""docs/reference/file-formats.md names every kind and field, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.importers.datasets import DATASETS
from omnisearch.data.importers.feeds import FEEDS
from omnisearch.data.importers.rows import FIELDS, KINDS, REQUIRED

PAGE = (Path(__file__).parents[3] / "docs/reference/file-formats.md").read_text("utf-8")


def documented(heading: str) -> tuple[set[str], set[str]]:
    """The fields in the tables of a section, and those of them in bold."""
    section = re.split(r"^###? ", PAGE.split(f"\n### {heading}\n")[1], flags=re.MULTILINE)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    names = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    return names, {name for cell in cells for name in re.findall(r"\*\*`(\w+)`", cell)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_documented(kind):
    heading = "pins, products" if kind in ("pins", "products") else kind
    names, bold = documented(heading)
    known = set(FIELDS["products"]) if kind == "pins" else set(FIELDS[kind])
    assert names == known
    assert bold == set(REQUIRED[kind])


def test_every_action_is_documented():
    assert all(f"`{word}`" in PAGE for word in ACTIONS)


def test_the_tables_of_formats_are_those_of_the_registries():
    section = PAGE.split("\n## Data sets and feeds\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w[\w-]*)` \|", section, flags=re.MULTILINE)
    assert named == [*DATASETS, *FEEDS]
