"""Board titles: what users call the collections they save an item to (§3.2.2).

The score of a title on an item says how far its words are what chance would put there: low is
good. Let n be the number of boards with a title that the item is on, P(w) the share of all titled
boards whose title has the word w, and f(w) the number of the item's boards whose title has it:

    score(title) = mean over its words w of (n * P(w) + 1/2) / f(w)

n * P(w) is how many of the item's boards would carry w if boards were filled by lot, f(w) how many
do. 'stuff' and 'my board' consist of words prevalent across all boards, so on an item of many
boards they are there as often as by lot, and score about 1; a title whose words occur frequently
on this item but seldom elsewhere scores near 0. Since every board with the title carries its
words, a title that occurs more frequently scores lower. The half is what keeps a word that occurs
once anywhere (a name, a slip of the pen) from winning by rarity alone: it scores 1/2 at best,
words on which two boards agree 1/4 at best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import orjson
import sqlite_utils

from data.catalogue import set_meta
from data.enrich.writing import replace_column, transaction
from data.pairs import feature_until
from data.text import words

TOP = 10


def enrich_board_titles(
    db: sqlite_utils.Database,
    progress: Callable[[int, int], None] | None = None,
    until: int | None = None,
) -> int:
    """Set `board_titles` of all items to the 10 best titles; returns how many items changed.

    Items saved to a board at a known time count if that is before `until`; default the end of
    training (`data.pairs.feature_until`), so that boards filled during the evaluation do not leak
    into it. A catalogue in which nothing is on a board is left as it is: its titles, if any, were
    imported. Memory: the vocabulary of all titles, and one item's boards. One transaction.
    """
    with transaction(db):
        total = db.conn.execute("SELECT COUNT(*) FROM board_items").fetchone()[0]
        if total == 0:
            return 0
        end = feature_until(db) if until is None else until
        prevalence = word_prevalence(
            title for (title,) in db.conn.execute("SELECT title FROM boards")
        )
        rows = db.conn.execute(
            "SELECT i.entity, i.item_id, b.title FROM board_items i JOIN boards b "
            "ON b.id = i.board_id WHERE i.added_at IS NULL OR i.added_at < ? "
            "ORDER BY i.entity, i.item_id",
            [end],
        )
        changed = replace_column(db, "board_titles", _lists(rows, prevalence, total, progress))
        set_meta(db, "boards_until", end)
    return changed


def word_prevalence(titles: Iterable[str | None]) -> dict[str, float]:
    """The share of titles that have each word; titles without a word are not counted."""
    counts: Counter[str] = Counter()
    titled = 0
    for title in titles:
        found = _words(title or "")
        counts.update(set(found))
        titled += bool(found)
    return {word: number / titled for word, number in counts.items()}


def best_titles(titles: Sequence[str], prevalence: dict[str, float], top: int = TOP) -> list[str]:
    """The best of one item's board titles, unique after normalisation, best first.

    `titles` has one entry for each board the item is on. Ordered by (score ascending, word count
    descending, character length descending), then by the alphabet. Titles are the same if their
    words are; the form that most boards use is kept. Titles without a word are dropped.
    """
    forms: dict[tuple[str, ...], Counter[str]] = {}
    for title in titles:
        if found := _words(title):
            forms.setdefault(found, Counter())[" ".join(title.split())] += 1
    boards = sum(form.total() for form in forms.values())
    frequency: Counter[str] = Counter()
    for key, form in forms.items():
        for word in set(key):
            frequency[word] += form.total()

    def order(key: tuple[str, ...]) -> tuple[float, int, int, str]:
        lift = sum((boards * prevalence.get(w, 0.0) + 0.5) / frequency[w] for w in key) / len(key)
        text = " ".join(key)
        return round(lift, 9), -len(key), -len(text), text

    return [
        min(forms[key].items(), key=lambda entry: (-entry[1], entry[0]))[0]
        for key in sorted(forms, key=order)[:top]
    ]


@lru_cache(maxsize=100_000)
def _words(title: str) -> tuple[str, ...]:
    return tuple(words(title))


def _lists(
    rows: Iterable[tuple[str, str, str | None]],
    prevalence: dict[str, float],
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, str, str]]:
    """(entity, item id, JSON list) from rows ordered by item."""
    done = 0
    for (entity, item_id), group in groupby(rows, key=itemgetter(0, 1)):
        titles = [title or "" for _, _, title in group]
        if best := best_titles(titles, prevalence):
            yield entity, item_id, orjson.dumps(best).decode()
        if progress and done // 1000 != (done + len(titles)) // 1000:
            progress(done, total)
        done += len(titles)
    if progress:
        progress(total, total)
