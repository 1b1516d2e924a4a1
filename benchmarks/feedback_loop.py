"""Search that learns from the log of what it showed itself, round by round, and what users get.

    python benchmarks/feedback_loop.py [--rounds 3] [--preset demo] [--pins 20000] [--seed 7]

The first round learns from a sample world's log, which the world's own search made. Each round
then serves the world's simulated users, in the same sessions, a month after the last; what they see
and do is logged, and the next round learns from it too. Of the pages shown, a line for each round
has the true fulfilment of the users, the share of the catalogue that anybody saw, and the share of
results that the first log does not mention. The world's own search, which explores, and an oracle,
which shows what fulfils most, get the same sessions.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from truth import learn, make

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import ACTIONS, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.world.generator import write_lines
from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import LANGUAGES, load_lexicon
from omnisearch.world.population import DAY, END
from omnisearch.world.production import Production
from omnisearch.world.sessions import SHOWN, acts, draw_queries, fulfilment, result_pages
from omnisearch.world.sizes import Size, size_of
from omnisearch.world.templates import COUNTRIES
from omnisearch.world.truth import Truth

MONTH = 30 * DAY


@dataclass(frozen=True)
class Sessions:
    """Sessions of users: (s,) times in the first month after the log, queries, and page lengths."""

    time: np.ndarray
    query: np.ndarray
    length: np.ndarray

    @classmethod
    def draw(cls, truth: Truth, number: int, rng: np.random.Generator) -> Sessions:
        time = np.sort(END + rng.integers(0, MONTH - DAY, number))
        query = draw_queries(truth.queries, time, rng)
        return cls(time, query, rng.integers(*SHOWN, number))

    def cut(self, pages: np.ndarray) -> np.ndarray:
        """Pages (s, p) of item rows with -1 from their length on."""
        return np.where(np.arange(pages.shape[1]) < self.length[:, None], pages, -1)


def served(workspace: Workspace, truth: Truth, sessions: Sessions) -> np.ndarray:
    """(s, p) item rows that the live full stack shows, -1 for none."""
    most = SHOWN[1] - 1
    pages = np.full((len(truth.queries), most), -1)
    engine = SearchEngine.open(workspace)
    asked = np.unique(sessions.query)
    engine.warm([truth.queries.text[query] for query in asked])
    for query in asked.tolist():
        found = engine.rank(truth.queries.text[query], "full", most)
        pages[query, : len(found)] = [truth.item_of[key] for _, key, _ in found]
    engine.close()
    return sessions.cut(pages[sessions.query])


def of_the_world(truth: Truth, sessions: Sessions, rng: np.random.Generator) -> np.ndarray:
    """(s, p) item rows that the world's own search shows."""
    production = Production.of(load_lexicon(), truth.items, truth.queries)
    asked, line = np.unique(sessions.query, return_inverse=True)
    results = production.retrieve(asked, END, rng).of(line)
    session = (sessions.time, np.arange(len(line)), sessions.query)
    shown = np.zeros(len(truth.items), np.int32)
    pages, _ = result_pages(production, results, session, shown, rng)
    return pages


def logged(
    truth: Truth, sessions: Sessions, pages: np.ndarray, number: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """The import rows of what the users of round `number` saw and did."""
    session = (
        sessions.time + number * MONTH,
        number * len(pages) + np.arange(len(pages)),
        sessions.query,
    )
    truths = np.where(pages >= 0, truth.relevance(sessions.query[:, None], pages), 0)
    for part in acts(truth.items, truth.queries, pages, truths, session, rng):
        for time, place, query, row, _, action, position, offsite in zip(
            *(column.tolist() for column in part), strict=True
        ):
            language = LANGUAGES[truth.queries.language[query]]
            yield {
                "time": time,
                "query": truth.queries.text[query],
                "entity": "pin" if row < truth.items.pins else "product",
                "item_id": item_id(truth.items, row),
                "action": ACTIONS[action],
                "language": language,
                "country": COUNTRIES[language][0],
                "surface": "offsite" if offsite else "search",
                "session": f"round-{place}",
                "position": position or None,
            }


def by_oracle(truth: Truth, sessions: Sessions) -> np.ndarray:
    """(s, p) item rows with the highest probabilities of engagement."""
    pages = np.full((len(truth.queries), SHOWN[1] - 1), -1)
    for query in np.unique(sessions.query).tolist():
        order = np.argsort(-truth.chances(query), kind="stable")
        pages[query] = order[: pages.shape[1]]
    return sessions.cut(pages[sessions.query])


def fulfilments(truth: Truth, sessions: Sessions, pages: np.ndarray) -> np.ndarray:
    """(s,) the probability that the user of each session is fulfilled."""
    values = np.zeros(len(pages))
    for query in np.unique(sessions.query).tolist():
        chances = truth.chances(query)
        for line in np.flatnonzero(sessions.query == query).tolist():
            values[line] = fulfilment(chances[pages[line][pages[line] >= 0]])
    return values


def unmentioned(workspace: Workspace, truth: Truth) -> np.ndarray:
    """(n,) bool: the items that the log does not mention."""
    db = open_catalogue(workspace.catalogue)
    seen = db.conn.execute("SELECT DISTINCT item_id FROM engagements WHERE entity <> 'query'")
    unseen = np.ones(len(truth.items), bool)
    unseen[[truth.item_of[key] for (key,) in seen]] = False
    db.conn.close()
    return unseen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="demo", help="of the world and of the training")
    parser.add_argument("--pins", type=int, help="size of the world, if not the preset's")
    parser.add_argument("--sessions", type=int, help="of each round  [default: an eighth of a log]")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    size = size_of(options.preset) if options.pins is None else Size(options.pins)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        make(workspace, size, options.seed)
        truth = Truth.read(workspace.truth)
        unseen = unmentioned(workspace, truth)
        sessions = Sessions.draw(truth, options.sessions or size.sessions // 8, rng)
        first: np.ndarray | None = None

        def show(name: str, pages: np.ndarray) -> np.ndarray:
            values, shown = fulfilments(truth, sessions, pages), pages[pages >= 0]
            line = f"{name:20}{values.mean():12.4f}{len(np.unique(shown)) / len(unseen):10.4f}"
            line += f"{unseen[shown].mean():16.4f}"
            if first is not None:
                less = values - first
                low, high = bootstrap_interval(less)
                line += f"{less.mean():+11.4f} ({low:+.4f} to {high:+.4f})"
            print(line, flush=True)
            return values

        print(f"{size.items:,} items, {unseen.mean():.1%} not in the first log; synthetic data")
        head = f"{f'{len(sessions.time):,} sessions':20}{'fulfilment':>12}{'coverage':>10}"
        print(head + f"{'not in the log':>16}{'fulfilment less round 1':>26}")
        show("the world's search", of_the_world(truth, sessions, rng))
        show("oracle", by_oracle(truth, sessions))
        for number in range(1, options.rounds + 1):
            learn(workspace, options.preset)
            pages = served(workspace, truth, sessions)
            values = show(f"round {number}", pages)
            first = values if first is None else first
            rows = Path(folder) / f"engagements-{number}.jsonl"
            write_lines(rows, logged(truth, sessions, pages, number, rng))
            pipeline.import_files(workspace, [rows])


if __name__ == "__main__":
    main()
