"""Which queries and which times of the log each reader may see: the leak rule (§4.2).

A data set may give a query a split: 'train', 'valid' or 'test'. The log is cut into windows,
counted back from its last event (`time_split`):

    ───────────────────────────────┬────────────────────────────┬─────────────────┐
     training (its last 7 days are │ 15 days' gap (rankers      │ evaluation,     │
     drawn from for validation)    │ learn from the first 14)   │ 7 days          │
    ───────────────────────────────┴────────────────────────────┴─────────────────┘
                              train_until                   eval_from         eval_until

Strays do not count (`log_span`): a few events long after all others do not move the windows.
A log of 22 days or less has no evaluation window: all of it is used for training, rankers learn
from judgments alone, and features may read everything.

Who may see which queries, by their split ('none': no data set gave one), and which times:

| reader             | queries                | times                    | who calls             |
|--------------------|------------------------|--------------------------|-----------------------|
| training pairs     | none, 'train'          | before train_until       | data/catalogue/pairs  |
| training's queries | none, 'train'          |                          | training/dataset      |
| validation pairs   | as training pairs      | 7 days to train_until    | training/validate     |
| engaged queries    | none, 'train'          | 2 years to train_until   | engaged_queries       |
| board titles       | boards have none       | before feature_until     | boards                |
| graph embeddings   | none, 'train'          | before feature_until     | graph                 |
| temporal recall    | none, 'train'          | from feature_until       | graph/temporal_recall |
| related queries    | all                    | before engaged_until     | indexer/signals       |
| rankers, log       | none; note 1           | 14 days from train_until | ranking_data          |
| rankers, judgments | none, 'valid'; note 1  |                          | ranking_data          |
| evaluation, log    | all                    | eval_from to eval_until  | data/catalogue/pairs  |
| evaluation, judged | those measured; note 1 |                          | evaluation/evaluate   |
| replay, log        | all; note 2            | eval_from to eval_until  | experiments/replay    |
| queries to judge   | all                    | last seen from eval_from | judging/queries       |

1. Measured queries are not learned from: those with a pair in the evaluation window or kept for
   test (`evaluation_queries`). The rankers' window begins later if features read later events.
2. Measured, not learned from. A user may ask for more days; the replay then says that variants may
have learned from them.

`feature_until` is train_until, or unlimited if there is no evaluation window. `engaged_until` is
the catalogue's note of how far enrichment read: train_until, unless a user asked for more. For
serving, a user may want features made from the whole log; training and evaluation then refuse to
run (`check_leak`).

A query without a split may be trained on and measured: it was asked in both windows, and the pairs
measured are those engaged in the later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnisearch.data.catalogue.log_span import ENGAGED, CatalogueLog, Log, begins_late, log_end
from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.workspace.dates import day
from omnisearch.data.workspace.errors import NotReady

if TYPE_CHECKING:
    import sqlite_utils

DAY = 86_400
NO_LIMIT = 2**62  # later than any time
SPLITS = ("train", "valid", "test")

Window = tuple[int, int]  # [from, until) in seconds since 1970 UTC; empty if from >= until

# SQL: when an item was saved to a board; saves without a time count as the oldest.
SAVED_AT = "COALESCE(added_at, -1)"

# Notes of the catalogue: until when (exclusive) enrichment read the log or the boards.
_TEXT_NOTES = {
    "engaged_until": ("Engaged queries", "omnisearch enrich queries"),
    "boards_until": ("Board titles", "omnisearch enrich boards"),
}

# Queries with a pair in the evaluation window (`pairs.window_pairs`), and those kept for test.
_MEASURED = f"""
    SELECT query FROM engagements WHERE time >= ? AND time < ? AND {ENGAGED}
    GROUP BY query, entity, item_id, action HAVING SUM(count) > 0
    UNION SELECT id FROM queries WHERE split = 'test'
"""


@dataclass(frozen=True)
class Split:
    """A split of the log by time, in seconds since 1970 UTC; upper bounds are exclusive.

    Training reads [.., train_until), evaluation [eval_from, eval_until). If the log's time span is
    too short, the evaluation is empty and the whole log is used for training.
    """

    train_until: int
    eval_from: int
    eval_until: int

    @property
    def evaluates(self) -> bool:
        """Whether there is an evaluation window."""
        return self.eval_until > self.eval_from

    @property
    def training_days(self) -> str:
        """'events before 2024-03-01' for what training reads; empty of an empty log."""
        return f"events before {day(self.train_until)}" if self.train_until > 0 else ""


def time_split(db: sqlite_utils.Database, gap_days: int = 15, eval_days: int = 7) -> Split:
    """The split of §4.2, counted back from the last event of the log that is no stray.

    A log that spans no more than the gap and the evaluation window together (labels imported as
    engagement all have one time) would leave no training data, so the whole log is used for
    training (`train_until` is one past the last event) and the evaluation window is empty. An empty
    log gives Split(0, 0, 0).
    """
    return split_of(CatalogueLog(db), gap_days, eval_days)


def split_of(log: Log, gap_days: int = 15, eval_days: int = 7) -> Split:
    """The same of any log."""
    end = log_end(log, eval_days)
    if end is None:
        return Split(0, 0, 0)
    eval_from = end - eval_days * DAY
    train_until = eval_from - gap_days * DAY
    first = log.first()
    assert first is not None
    if first >= train_until or begins_late(log, train_until):
        return Split(end, end, end)
    return Split(train_until, eval_from, end)


# Times


def training_window(split: Split) -> Window:
    """The window of training pairs."""
    return -NO_LIMIT, split.train_until


def validation_window(split: Split) -> Window:
    """The window of validation pairs: the last 7 days of training."""
    return split.train_until - 7 * DAY, split.train_until


def ranker_window(split: Split, known_until: int, days: int) -> Window:
    """The window that rankers learn from: at most `days` days after training, before evaluation.

    It begins where the window of the features that rankers read ends (`known_until`); otherwise the
    features would contain the labels. Empty if there is no evaluation window.
    """
    if not split.evaluates:
        return 0, 0
    return max(split.train_until, known_until), min(split.train_until + days * DAY, split.eval_from)


def evaluation_window(split: Split) -> Window:
    """The window that is measured; empty if the log is too short."""
    return split.eval_from, split.eval_until


def last_days(split: Split, days: int | None) -> tuple[Window, bool]:
    """The window of the last `days` days of the log, and whether training may have read of it.

    None is the evaluation window, or the whole of a log that has none.
    """
    if days is None:
        begin = split.eval_from if split.evaluates else -NO_LIMIT
    else:
        begin = split.eval_until - days * DAY
    return (begin, split.eval_until), not split.evaluates or begin < split.eval_from


def judged_since(db: sqlite_utils.Database) -> int:
    """The earliest last use of a query to be judged; 0 without an evaluation window."""
    split = time_split(db)
    return split.eval_from if split.evaluates else 0


def feature_until(db: sqlite_utils.Database, until: int | None = None) -> int:
    """Until when (exclusive) boards and graphs are read: the user's `until` if given.

    Otherwise `features_end`: the end of training, or NO_LIMIT if there is no evaluation window.
    """
    return features_end(time_split(db)) if until is None else until


def features_end(split: Split) -> int:
    """Until when (exclusive) boards and graphs are read by default."""
    return split.train_until if split.evaluates else NO_LIMIT


def known_window(until: int) -> Window:
    """The window that a feature with this `until` reads."""
    return -NO_LIMIT, until


def later_window(until: int) -> Window:
    """The window that a feature with this `until` has not read."""
    return until, NO_LIMIT


def engaged_window(db: sqlite_utils.Database, until: int | None, days: int) -> Window:
    """The window of engaged queries: `days` days before `until`.

    None means the end of training; `until` is at most one past the last event.
    """
    return engaged_window_of(time_split(db), until, days)


def engaged_window_of(split: Split, until: int | None, days: int) -> Window:
    """The same of a split."""
    end = min(split.train_until if until is None else until, split.eval_until)
    return end - days * DAY, end


def counted_until(db: sqlite_utils.Database) -> int:
    """Until when (exclusive) counts and related queries read the log: as far as engaged queries."""
    until = get_meta(db, "engaged_until")
    return NO_LIMIT if until is None else until


def whole_log(db: sqlite_utils.Database) -> int:
    """Where the log ends, if engaged queries were made from more than training may see; else 0.

    A user who has run `enrich queries --until now` goes on with the whole log.
    """
    split = time_split(db)
    return split.eval_until if (get_meta(db, "engaged_until") or 0) > split.train_until else 0


def known_until(manifest: Mapping[str, Any]) -> int:
    """Until when (exclusive) a generation's counts and engaged queries read the log.

    0 if its manifest does not say.
    """
    until = manifest.get("engaged_until")
    return until if isinstance(until, int) and until < NO_LIMIT else 0


# Queries. Conditions in SQL; `column` holds a query.


def training_may_see(column: str) -> str:
    """Training pairs, and all features made from queries: no query kept for validation or test."""
    return f"{column} NOT IN (SELECT id FROM queries WHERE split IN ('valid', 'test'))"


def rankers_may_see_logged(column: str) -> str:
    """The log that rankers learn from: no query of a data set."""
    return f"{column} NOT IN (SELECT id FROM queries WHERE split IS NOT NULL)"


def rankers_may_see_judged(column: str) -> str:
    """The judgments that rankers learn from: no query that encoders were trained on, no test."""
    return f"{column} NOT IN (SELECT id FROM queries WHERE split IN ('train', 'test'))"


def held_out(db: sqlite_utils.Database) -> dict[str, str]:
    """Query → 'valid' or 'test', for the queries held out of training."""
    return dict(db.conn.execute("SELECT id, split FROM queries WHERE split IN ('valid', 'test')"))


def kept_by_data_sets(db: sqlite_utils.Database) -> dict[str, str]:
    """Query → 'train', 'valid' or 'test', for the queries of data sets that have splits."""
    return dict(db.conn.execute("SELECT id, split FROM queries WHERE split IS NOT NULL"))


def measured_days(eval_from: int, eval_until: int) -> str | None:
    """The days of an evaluation window, as text; None if it is empty."""
    if eval_until <= eval_from:
        return None
    return f"{day(eval_from)} to {day(eval_until - 1)}"


def evaluation_queries(db: sqlite_utils.Database) -> set[str]:
    """The queries that the evaluation measures; rankers must not learn from them.

    These are the queries engaged with in the evaluation window, and those that a data set keeps
    for its test.

    Raises:
        NotReady: the features leak (see `check_leak`).
    """
    split = time_split(db)
    check_leak(db, split)
    return {row[0] for row in db.conn.execute(_MEASURED, evaluation_window(split))}


# Features


def fit_note(feature: str) -> str:
    """The catalogue note on a feature fitted here: {"until": time, "sha256": of its file}."""
    return f"{feature}_fit"


def check_leak(db: sqlite_utils.Database, split: Split) -> None:
    """Raise NotReady if a feature in the catalogue has read past `split.train_until`.

    A feature that has read the evaluation window, or the gap before it, would leak the answers to
    the model (§4.2). Nothing can leak if the evaluation window is empty.
    """
    if not split.evaluates:
        return
    known = [(get_meta(db, key), *texts) for key, texts in _TEXT_NOTES.items()]
    for name, digest in db.conn.execute("SELECT name, sha256 FROM item_vectors"):
        note = get_meta(db, fit_note(name))
        if note is not None and note["sha256"] == digest:  # otherwise imported since
            known.append((note["until"], f"{name} vectors", "omnisearch enrich graph --again"))
    for until, feature, command in known:
        if until is not None and until > split.train_until:
            raise NotReady(
                f"{feature} were computed from events after the end of training "
                f"({day(split.train_until)}): the evaluation would leak into the features.",
                where="catalogue",
                how=f"Run `{command}` without --until.",
            )
