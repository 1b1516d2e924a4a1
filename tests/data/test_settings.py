"""Settings: the file, the environment and options, in rising order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import SECTIONS, load_section


@dataclass(frozen=True)
class Search:
    depth: int = 100
    weight: float = 0.5
    related: bool = True
    backend: str = "tantivy"


def test_the_file_the_environment_and_options_in_rising_order(tmp_path, monkeypatch):
    path = tmp_path / "omnisearch.toml"
    assert load_section("search", Search(), path) == Search()
    path.write_text("[search]\ndepth = 7\nweight = 1\nrelated = false\n[other]\nx = 1\n")
    assert load_section("search", Search(), path) == Search(7, 1.0, False)
    monkeypatch.setenv("OMNISEARCH_SEARCH_DEPTH", "8")
    monkeypatch.setenv("OMNISEARCH_SEARCH_RELATED", "True")
    assert load_section("search", Search(), path) == Search(8, 1.0, True)
    options = {"depth": 9, "weight": None}
    assert load_section("search", Search(), path, options) == Search(9, 1.0, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[search]\ndeepness = 1\n", "Unknown setting 'deepness'"),
        ('[search]\ndepth = "many"\n', "'many' is not a valid value"),
        ("[search]\ndepth = true\n", "True is not a valid value"),
        ("[search]\ndepth = 2.5\n", "2.5 is not a valid value"),
        ("[search]\ndepth = [1]\n", "is not a valid value"),
        ("[search]\nbackend = 1\n", "1 is not a valid value"),
        ("[search]\nrelated = 1\n", "1 is not a valid value"),
        ("[search\n", "not valid TOML"),
        ("[engin]\nrelated = 1\n", r"no section \[engin\]. Write \[engine\]"),
        ('[search]\ndepth = "many"\n', "Give a whole number"),
        ("search = 5\n", "'search' is a section"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, content, said):
    path = tmp_path / "omnisearch.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as error:
        load_section("search", Search(), path)
    assert str(path) in error.value.where


def test_the_sections_are_those_of_the_page():
    page = Path(__file__).resolve().parents[2] / "docs/reference/settings.md"
    assert tuple(re.findall(r"^## \[(\w+)\]$", page.read_text("utf-8"), re.MULTILINE)) == SECTIONS


def test_a_wrong_variable_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISEARCH_SEARCH_WEIGHT", "heavy")
    with pytest.raises(InputError) as error:
        load_section("search", Search(), tmp_path / "none.toml")
    assert error.value.where == "OMNISEARCH_SEARCH_WEIGHT"
