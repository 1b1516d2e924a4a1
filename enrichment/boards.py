"""Board titles: what users call the collections they save an item to (§3.2.2).

The score of a title on an item says how far chance alone explains its words: low is good.
"Frequency of occurrence" is how many of the item's boards have a word, "prevalence" how many of all
saves go to boards that have it. Let, for an item on n boards with a title,

    f(w)  the number of its boards whose title has the word w,
    P(w)  the share of all saves that went to a board whose title has w,
    R(w)  how far two boards of one item share w only by chance: over all items,
          R(w) = min(1, (1 + pairs expected) / (1 + pairs there are)), where the pairs there are
          sum f(w) * (f(w) - 1), and those expected if boards were filled at random sum
          f(w) * (n - 1) * P(w).

    score(title) = mean over its words w of (n * P(w) + R(w)) / f(w)

n * P(w) is how many of the item's boards would have w at random, f(w) how many do. Words prevalent
across all boards ('stuff', 'my board', 'ideas') are on an item as often as at random: they score 1
or more. A word that this item's boards share but others lack scores near 0, and a title that occurs
more often scores lower, as each of its boards has its words. R decides for items on few boards,
which have too few counts of their own: if one board says 'lamp', others of the same item do too,
far more often than at random (R near 0); if one says 'misc', they do not (R = 1). A word seen once
(a name, a typo) also has R = 1 and cannot win by being rare.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, groupby
from operator import itemgetter

import orjson
import sqlite_utils

from omnisearch.data.catalogue.schema import get_meta, set_meta
from omnisearch.data.catalogue.splits import SAVED_AT, feature_until
from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.item_columns import replace_column, transaction

TOP = 10


@dataclass(frozen=True)
class WordStatistics:
    """Statistics of the words of board titles; missing words count as never seen.

    Attributes:
        prevalence: P, the share of saves whose board's title has the word.
        chance: R, 1 if boards of one item share the word only by chance, near 0 if not.
    """

    prevalence: Mapping[str, float]
    chance: Mapping[str, float]


def enrich_boards(
    workspace: Workspace, db: sqlite_utils.Database, progress: Progress | None = None
) -> dict[str, int]:
    """The enricher 'boards': `enrich_board_titles`; returns the count items_changed."""
    return {"items_changed": enrich_board_titles(db, progress)}


def enrich_board_titles(
    db: sqlite_utils.Database,
    progress: Progress | None = None,
    until: int | None = None,
) -> int:
    """Set `board_titles` of all items to the 10 best titles; returns how many items changed.

    Saves with a known time count if they are before `until`; default the end of training
    (`feature_until`), so that boards filled during the evaluation do not leak into it. A catalogue
    in which nothing is on a board is unchanged: its titles, if any, were imported. Memory: the
    vocabulary of all titles, and one item's boards. One transaction.
    """
    with transaction(db):
        total = db.conn.execute("SELECT COUNT(*) FROM board_items").fetchone()[0]
        if total == 0:
            return 0
        end = feature_until(db, until)
        statistics = word_statistics(titles for _, _, titles in _items(db, end))
        changed = replace_column(
            db, "board_titles", title_lists(_items(db, end), statistics, total, progress)
        )
        set_meta(db, "boards_until", end)
        set_meta(db, "boards_made", _made_of(db, end))
    return changed


def outdated_boards(db: sqlite_utils.Database) -> bool:
    """Whether the titles were made of other boards than there are up to the end of training."""
    made = get_meta(db, "boards_made")
    if made is None:
        return False
    return made != _made_of(db, max(get_meta(db, "boards_until"), feature_until(db)))


def _made_of(db: sqlite_utils.Database, end: int) -> str:
    boards = db.conn.execute("SELECT id, title FROM boards ORDER BY id")
    saves = db.conn.execute(
        f"SELECT board_id, entity, item_id FROM board_items WHERE {SAVED_AT} < ? "
        "ORDER BY board_id, entity, item_id",
        [end],
    )
    return made_of(boards, saves)


def made_of(boards: Iterable[tuple], saves: Iterable[tuple]) -> str:
    """The note 'boards_made': a hash of all boards' titles, and of the saves that count.

    Args:
        boards: (id, title), ordered. saves: (board id, entity, item id), ordered.
    """
    digest = blake2b(digest_size=16)
    for row in chain(boards, saves):
        digest.update(orjson.dumps(row))
    return digest.hexdigest()


def word_statistics(items: Iterable[Sequence[str]]) -> WordStatistics:
    """P and R of every word, from each item's board titles (one entry per board)."""
    saves: Counter[str] = Counter()
    chances: Counter[str] = Counter()  # sum f(w) * (n - 1)
    agreeing: Counter[str] = Counter()  # sum f(w) * (f(w) - 1)
    titled = 0
    for titles in items:
        keys = [key for title in titles if (key := _words(title))]
        titled += len(keys)
        for word, number in _frequency(Counter(keys)).items():
            saves[word] += number
            chances[word] += number * (len(keys) - 1)
            if number > 1:
                agreeing[word] += number * (number - 1)
    prevalence = {word: number / titled for word, number in saves.items()}
    chance = {
        word: min(1.0, (1 + chances[word] * prevalence[word]) / (1 + agreeing[word]))
        for word in saves
    }
    return WordStatistics(prevalence, chance)


def best_titles(titles: Sequence[str], statistics: WordStatistics, top: int = TOP) -> list[str]:
    """The best of one item's board titles, unique after normalisation, best first.

    `titles` has one entry for each board the item is on. Ordered by (score ascending, word count
    descending, character length descending), then by the alphabet. Titles with the same words are
    equal; the most common form is kept. Titles without words are dropped.
    """
    forms: dict[tuple[str, ...], Counter[str]] = {}
    for title in titles:
        if key := _words(title):
            forms.setdefault(key, Counter())[" ".join(title.split())] += 1
    uses = Counter({key: form.total() for key, form in forms.items()})
    boards = uses.total()
    score = {
        word: (boards * statistics.prevalence.get(word, 0.0) + statistics.chance.get(word, 1.0))
        / number
        for word, number in _frequency(uses).items()
    }

    def order(key: tuple[str, ...]) -> tuple[float, int, int, str]:
        text = " ".join(key)
        # Rounded, so that sums that differ only in the last bit tie and the next criterion decides.
        mean = sum(score[word] for word in key) / len(key)
        return round(mean, 9), -len(key), -len(text), text

    return [
        min(forms[key].items(), key=lambda entry: (-entry[1], entry[0]))[0]
        for key in sorted(forms, key=order)[:top]
    ]


def _frequency(uses: Counter[tuple[str, ...]]) -> Counter[str]:
    """f: in how many boards each word is, from how many boards have each title."""
    found: Counter[str] = Counter()
    for key, number in uses.items():
        for word in set(key):
            found[word] += number
    return found


@lru_cache(maxsize=100_000)
def _words(title: str) -> tuple[str, ...]:
    return tuple(words(title))


def _items(db: sqlite_utils.Database, end: int) -> Iterator[tuple[str, str, list[str]]]:
    rows: sqlite3.Cursor = db.conn.execute(
        "SELECT i.entity, i.item_id, b.title FROM board_items i JOIN boards b "
        f"ON b.id = i.board_id WHERE {SAVED_AT} < ? "
        "ORDER BY i.entity, i.item_id",
        [end],
    )
    return by_item(rows)


def by_item(
    rows: Iterable[tuple[str, str, str | None]],
) -> Iterator[tuple[str, str, list[str]]]:
    """(entity, item id, a title for each of its boards), of rows ordered by item."""
    for (entity, item_id), group in groupby(rows, key=itemgetter(0, 1)):
        yield entity, item_id, [title or "" for _, _, title in group]


def title_lists(
    items: Iterable[tuple[str, str, list[str]]],
    statistics: WordStatistics,
    total: int = 0,
    progress: Progress | None = None,
) -> Iterator[tuple[str, str, str]]:
    """(entity, item id, JSON list); reports progress in board items done."""
    done = shown = 0
    for entity, item_id, titles in items:
        if best := best_titles(titles, statistics):
            yield entity, item_id, orjson.dumps(best).decode()
        done += len(titles)
        if progress and done - shown >= 1000:
            shown = done
            progress(done, total)
    if progress:
        progress(total, total)
