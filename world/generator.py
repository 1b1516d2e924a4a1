"""`generate`: writes all files of a sample world, in blocks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import write_atomic
from omnisearch.data.workspace.paths import TRUTH
from omnisearch.data.workspace.progress import Progress
from omnisearch.world import boards as boards_
from omnisearch.world import engagement_files, visual
from omnisearch.world.advertisers import campaign_records
from omnisearch.world.itemtext import item_id, item_records, picture_path
from omnisearch.world.judges import judgments
from omnisearch.world.lexicon import INTERESTS, LANGUAGES, Lexicon, load_lexicon
from omnisearch.world.pictures import draw
from omnisearch.world.population import END, START, Population, make_prior, populate
from omnisearch.world.production import Production
from omnisearch.world.querypool import QueryPool, make_queries
from omnisearch.world.related import related_queries
from omnisearch.world.sizes import Size, size_of
from omnisearch.world.templates import COUNTRIES
from omnisearch.world.truth import Truth

BLOCK = 10_000


def generate(
    preset: str | Size,
    folder: Path,
    seed: int = 7,
    pictures: bool = True,
    progress: Progress | None = None,
    picture_noise: float = visual.NOISE,
) -> dict[str, Any]:
    """Write a world's files into `folder` (made if absent) and return their counts.

    The same preset and seed give the same files. All data is synthetic, as recorded in
    `meta.json`, which is written last; a folder without it is incomplete.

    Args:
        picture_noise: how little the image vectors say (`visual.write_vectors`).

    Raises:
        InputError: the preset is unknown, or the folder is not empty.
    """
    size = size_of(preset)
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise InputError(
            f"The folder for the sample world {what}.",
            where=str(folder),
            how="Choose a new folder, or empty this one." if folder.is_dir() else "Name a folder.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    steps = _Steps(progress, size.items * 2 + size.sessions)
    lexicon = load_lexicon()
    draws = [np.random.default_rng([seed, step]) for step in range(8)]
    prior = make_prior(lexicon, size, draws[0])
    items = populate(prior, size, draws[1])
    counts: dict[str, int | float] = {}
    counts |= _write_items(folder, lexicon, items, seed, pictures, steps)
    users = boards_.user_languages(size.users, draws[2])
    boards = boards_.make_boards(lexicon, prior, size.boards, users, draws[2])
    write_lines(folder / "boards.jsonl", boards_.board_records(lexicon, boards, seed))
    placed = boards_.place_items(lexicon, items, boards, draws[2])
    counts |= {"boards": len(boards)}
    counts |= engagement_files.write_board_items(folder, items, placed)
    visual.write_vectors(folder, lexicon, items, draws[3], picture_noise)
    steps.advance(size.items)
    queries = make_queries(lexicon, prior, size.queries, draws[4])
    write_lines(folder / "queries.jsonl", _query_records(queries, seed))
    production = Production.of(lexicon, items, queries)
    related = related_queries(production.tree, queries, draws[5])
    log = engagement_files.Log(production, related, users)
    counts |= {"queries": len(queries), "users": len(users), "sessions": size.sessions}
    counts |= engagement_files.write_log(folder, log, size.sessions, draws[6], steps.advance)
    rows = judgments(production, size.judged_queries, draws[7])
    counts |= {"judgments": write_lines(folder / "judgments.jsonl", rows)}
    sold = campaign_records(production.tree, items, np.random.default_rng([seed, len(draws)]))
    counts |= {"campaigns": write_lines(folder / "campaigns.jsonl", sold)}
    Truth(production.tree, items, queries).write(folder / TRUTH)
    summary = {
        "synthetic": True,
        "generator": "OmniSearch sample world",
        "note": "All items, people, brands, sites and actions are invented by a program.",
        "preset": preset if isinstance(preset, str) else f"{size.pins} pins",
        "seed": seed,
        "from": START,
        "until": END,
        "interests": list(INTERESTS),
        "languages": list(LANGUAGES),
        **counts,
    }
    write_atomic(folder / "meta.json", orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


class _Steps:
    """Accumulates progress for a callback of (done, total)."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.done, self.total = progress, 0, total

    def advance(self, steps: int) -> None:
        self.done = min(self.done + steps, self.total)
        if self.progress:
            self.progress(self.done, self.total)


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> int:
    """Write records as JSON lines; returns their number."""
    n = 0
    with path.open("wb") as file:
        for record in records:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            n += 1
    return n


def _write_items(
    folder: Path,
    lexicon: Lexicon,
    items: Population,
    seed: int,
    pictures: bool,
    steps: _Steps,
) -> dict[str, int]:
    if pictures:
        for shard in range(100):
            (folder / f"pictures/{shard:02d}").mkdir(parents=True)
    written = {}
    for kind, start, stop in (("pins", 0, items.pins), ("products", items.pins, len(items))):
        with (folder / f"{kind}.jsonl").open("wb") as file:
            for low in range(start, stop, BLOCK):
                high = min(low + BLOCK, stop)
                for record in item_records(lexicon, items, low, high, seed):
                    file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
                if pictures:
                    _write_pictures(folder, lexicon, items, low, high)
                steps.advance(high - low)
        written[kind] = stop - start
    return written


def _write_pictures(folder: Path, lexicon: Lexicon, items: Population, low: int, high: int) -> None:
    concepts, values = items.concept[low:high].tolist(), items.values[low:high].tolist()
    for offset, (concept, value) in enumerate(zip(concepts, values, strict=True)):
        row = low + offset
        svg = draw(lexicon, concept, value, row)
        (folder / picture_path(item_id(items, row))).write_text(svg)


def _query_records(queries: QueryPool, seed: int) -> Iterable[dict[str, Any]]:
    for row, text in enumerate(queries.text):
        language = LANGUAGES[queries.language[row]]
        countries = COUNTRIES[language]
        yield {
            "text": text,
            "language": language,
            "country": countries[(row * 31 + seed) % len(countries)],
        }
