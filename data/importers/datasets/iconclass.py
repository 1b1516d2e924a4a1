"""The Iconclass vocabulary (`iconclass`): a `kw_<language>.txt` of `notation|keyword` lines each.

A notation is a pin whose title is its keywords in one of its languages, chosen by a hash of the
notation. Its keywords in the other languages are queries, with the pin judged grade 1. Engagement
derived for training queries: the pin is saved, and two keywords get clicks on each other if each is
the notation's only keyword in its language, so that they are translations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import permutations
from pathlib import Path

from omnisearch.data.importers.datasets.labels import Splits, derived, note_derived
from omnisearch.data.importers.files import import_rows
from omnisearch.data.importers.source import Row, Source
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, numbered, translated
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress

# language → notation → its keywords, as written
Keywords = dict[str, dict[str, list[str]]]


def import_iconclass(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import pins, queries, judgments and derived engagement; ids become 'iconclass:<notation>'.

    The files are read whole: some 50 MB of memory for six languages.
    """
    files = keyword_files(folder)
    keywords = read_keywords(files)
    splits = Splits(workspace)
    spelled = _languages(keywords)
    note_derived(workspace, "iconclass")

    def take(language: str, kind: str, source: Source) -> Report:
        return import_rows(workspace, files[language], kind, source, progress=progress)

    def queries(language: str) -> Source:
        def query(values: Values) -> list[Values]:
            text = values["keyword"]
            only = spelled[normalise_query(text)] == {language}
            row = {"text": text, "language": language if only else None}
            return [row | {"split": splits.of(text)}]

        return translated(_lines(files[language]), query)

    reports = [take(name, "pins", numbered("text", _pins(keywords, name))) for name in files]
    for name in files:
        pairs = list(_pairs(keywords, name))
        reports += [
            take(name, "queries", queries(name)),
            take(name, "judgments", numbered("text", _judgments(pairs))),
            take(
                name, "engagements", numbered("text", _engagements(keywords, name, pairs, splits))
            ),
        ]
    return reports


def keyword_files(folder: Path) -> dict[str, Path]:
    """Language → file, sorted; raises InputError if there is none."""
    found = {path.stem.removeprefix("kw_"): path for path in sorted(folder.glob("kw_*.txt"))}
    if not found:
        raise InputError(
            "The folder has no kw_en.txt.", where=str(folder), how="Name the publisher's folder."
        )
    return found


def read_keywords(files: dict[str, Path]) -> Keywords:
    """The keywords of each notation, by language; malformed lines are skipped."""
    found: Keywords = {}
    for language, path in files.items():
        of_notation: dict[str, list[str]] = defaultdict(list)
        for row in _lines(path).rows:
            if row.values is not None:
                of_notation[row.values["notation"]].append(row.values["keyword"])
        found[language] = {key: list(dict.fromkeys(words)) for key, words in of_notation.items()}
    return found


def translations(keywords: Keywords) -> Iterator[tuple[str, str, str, str]]:
    """(language, keyword, other language, its keyword), both ways, if the spellings differ.

    Only for notations with one keyword in each of the two languages: among several it is not known
    which one translates which.
    """
    for language, other in permutations(sorted(keywords), 2):
        for notation, words in keywords[language].items():
            others = keywords[other].get(notation, [])
            alone = len(words) == len(others) == 1
            if alone and normalise_query(words[0]) != normalise_query(others[0]):
                yield language, words[0], other, others[0]


def _lines(path: Path) -> Source:
    """The lines as rows of notation and keyword."""

    def rows() -> Iterator[Row]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    parts = [part.strip() for part in line.decode("utf-8").split("|")]
                except UnicodeDecodeError:
                    yield Row(number, None, "is not UTF-8")
                    continue
                if len(parts) == 2 and all(parts):
                    yield Row(number, {"notation": parts[0], "keyword": parts[1]})
                elif any(parts):
                    yield Row(number, None, "is not notation|keyword")

    return Source("text", rows(), None, 0, lambda: 0)


def _languages(keywords: Keywords) -> dict[str, set[str]]:
    """Query id → the languages with a keyword of this spelling."""
    found: dict[str, set[str]] = defaultdict(set)
    for language, of_notation in keywords.items():
        for words in of_notation.values():
            for word in words:
                found[normalise_query(word)].add(language)
    return found


def _chosen(keywords: Keywords) -> Iterator[tuple[str, str]]:
    """(notation, the language of its pin)."""
    for notation in sorted({key for of_notation in keywords.values() for key in of_notation}):
        known = sorted(language for language in keywords if notation in keywords[language])
        place = int.from_bytes(blake2b(notation.encode(), digest_size=8).digest(), "big")
        yield notation, known[place % len(known)]


def _pins(keywords: Keywords, language: str) -> Iterator[Values]:
    for notation, of_pin in _chosen(keywords):
        if of_pin == language:
            title = ", ".join(keywords[language][notation])
            yield {"id": f"iconclass:{notation}", "title": title, "language": language}


def _pairs(keywords: Keywords, language: str) -> Iterator[tuple[str, str]]:
    """(keyword of `language`, id of a pin in another language whose title lacks this word)."""
    for notation, of_pin in _chosen(keywords):
        if of_pin != language:
            known = {normalise_query(word) for word in keywords[of_pin][notation]}
            for word in keywords[language].get(notation, []):
                if normalise_query(word) not in known:
                    yield word, f"iconclass:{notation}"


def _judgments(pairs: Iterable[tuple[str, str]]) -> Iterator[Values]:
    for word, pin in pairs:
        yield {"query": word, "entity": "pin", "item_id": pin, "grade": 1, "judge": "iconclass"}


def _engagements(
    keywords: Keywords, language: str, pairs: Iterable[tuple[str, str]], splits: Splits
) -> Iterator[Values]:
    for word, pin in pairs:
        if splits.of(word) == "train":
            yield derived(word, pin, "pin", "save") | {"language": language}
    for mine, word, _, other in translations(keywords):
        if mine == language and splits.of(word) == splits.of(other) == "train":
            yield derived(word, other, "query", "click") | {"language": language}
