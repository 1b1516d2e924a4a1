"""How often the language of a query is found, on Iconclass: right, wrong or unknown, and how fast.

    python benchmarks/query_language.py ../shared/data/iconclass [--half report]

The catalogue is the Iconclass notations, each named by its keywords in one of six languages, in
equal parts, or with English for 75% or 95% of them. The queries are keywords of its notations in
the other languages, that one language alone spells so. The constants of `engine.query_language`
were chosen on the half `choose`. 'Letters' leaves out the items' words. Random codes, numbers and
pairs of letters have no language.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.datasets.iconclass import keyword_files, read_keywords
from omnisearch.data.text.normalise import normalise_query
from omnisearch.engine.query_language import KNOWN, SpokenLanguages, spoken_languages
from omnisearch.indexer.parts.table_open import open_table
from omnisearch.indexer.parts.table_write import write_table

QUERIES = 600  # of each language, both halves together
Keywords = dict[str, dict[str, list[str]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder iconclass")
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    options = parser.parse_args()
    keywords = read_keywords(keyword_files(options.data))
    for english in (1 / 6, 0.75, 0.95):
        named = languages_of_notations(keywords, english)
        found = queries(keywords, named)[options.half == "report" :: 2]
        spoken = catalogue(keywords, named)
        none = np.zeros(0, np.int64)
        letters = replace(spoken, pairs=none.astype(np.uint64), counts=none)
        for name, languages in (("letters", letters), ("letters and words", spoken)):
            print(f"English {english:.0%}, {name}: {figures(languages, found)}", flush=True)
        print(f"    codes, numbers, pairs of letters known: {share_known(spoken, noise()):.3f}")


def figures(languages: SpokenLanguages, found: list[tuple[str, str]]) -> str:
    started, took, right, sure = time.perf_counter(), [], [], []
    for text, language in found:
        started = time.perf_counter()
        chances = languages.probabilities(text)
        took.append((time.perf_counter() - started) * 1e6)
        best = max(chances, key=chances.__getitem__, default="")
        right.append(best == language)
        sure.append(chances.get(best, 0.0) >= KNOWN)
    hits, known = np.array(right), np.array(sure)
    return (
        f"{len(found)} queries, first guess right {hits.mean():.3f}, known {known.mean():.3f}, "
        f"of these right {hits[known].mean():.3f}; {np.median(took):.0f} µs, p99 "
        f"{np.percentile(took, 99):.0f} µs"
    )


def share_known(languages: SpokenLanguages, texts: list[str]) -> float:
    return float(np.mean([languages.detect(text)[0] is not None for text in texts]))


def languages_of_notations(keywords: Keywords, english: float) -> dict[str, str]:
    """Notation → the language of its name, by a hash."""
    others = sorted(keywords.keys() - {"en"})
    named = {}
    for notation in sorted(set().union(*keywords.values())):
        place = crc32(notation.encode()) / 2**32
        rest = int((place - english) / (1 - english) * len(others))
        named[notation] = "en" if place < english else others[rest]
    return named


def queries(keywords: Keywords, named: dict[str, str]) -> list[tuple[str, str]]:
    """(query, language), in a random order."""
    spelled = defaultdict(set)
    for language, notations in keywords.items():
        for words in notations.values():
            for word in words:
                spelled[normalise_query(word)].add(language)
    chosen, drawn = [], random.Random(0)
    for language, notations in sorted(keywords.items()):
        texts = {
            normalise_query(word)
            for notation, words in notations.items()
            if named[notation] != language
            for word in words
        }
        alone = sorted(text for text in texts if len(spelled[text]) == 1)
        chosen += [(text, language) for text in drawn.sample(alone, min(QUERIES, len(alone)))]
    drawn.shuffle(chosen)
    return chosen


def catalogue(keywords: Keywords, named: dict[str, str]) -> SpokenLanguages:
    with TemporaryDirectory() as folder:
        db = open_catalogue(Path(folder) / "catalogue.db", create=True)
        db["pins"].insert_all(
            {"id": notation, "title": ", ".join(words), "language": language}
            for notation, language in named.items()
            if (words := keywords[language].get(notation))
        )
        ids = [row["id"] for row in db.query("SELECT id FROM pins ORDER BY id")]
        write_table(Path(folder), db, "pin", ids)
        return spoken_languages({"pin": open_table(Path(folder), "pin")})


def noise() -> list[str]:
    """Pairs of letters, numbers, and codes such as qx4123 and ab-12c."""
    drawn = random.Random(1)

    def letters(count: int) -> str:
        return "".join(drawn.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(count))

    texts = [letters(2) for _ in range(100)]
    texts += [f"{letters(2)}{drawn.randint(100, 99999)}" for _ in range(100)]
    texts += [f"{letters(2)}-{drawn.randint(10, 999)}{letters(1)}" for _ in range(50)]
    return texts + [str(drawn.randint(1, 99999)) for _ in range(50)]


if __name__ == "__main__":
    main()
