"""The programs over published labels run, on a few lines in the publishers' form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {
    "en": "dove cross lamb king",
    "de": "Taube Kreuz Lamm König",
    "fr": "colombe croix agneau roi",
}


def ran(name: str, *options: object) -> str:
    program = ROOT / "benchmarks" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(program), *map(str, options)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def iconclass(folder: Path) -> Path:
    folder.mkdir()
    for language, words in WORDS.items():
        lines = [f"{n}{n % 7}A|{words.split()[n % 4]} {n}\n" for n in range(1, 200)]
        (folder / f"kw_{language}.txt").write_text("".join(lines), "utf-8")
    return folder


@pytest.mark.slow
def test_keywords_find_their_translations(tmp_path: Path) -> None:
    data = iconclass(tmp_path / "iconclass")
    printed = ran("languages", "--data", data, "--steps", 2, "--seeds", 1, "--batch", 32)
    assert "letter trigrams: Recall@10" in printed
    assert "from nothing: mean" in printed


@pytest.mark.slow
def test_labels_files_are_made_of_both_taxonomies(tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    data = iconclass(tmp_path / "iconclass")
    ran("classification", "--data", data, "--languages", "en,de", "--out", out, "--seeds", 1)
    assert "Taube 4,4 > 44 > 44A" in out.read_text("utf-8")
    tate = tmp_path / "tate"
    tate.mkdir()
    subjects = {n: {"name": f"thing {n}", "path": ["objects", f"kind {n % 3}"]} for n in range(99)}
    (tate / "subjects.json").write_text(json.dumps({**subjects, 100: {"name": "a", "path": []}}))
    printed = ran("classification", "--data", tate, "--out", out, "--seeds", 1)
    assert "thing 4,objects > kind 1" in out.read_text()
    assert "| majority |" in printed
