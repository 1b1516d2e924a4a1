"""What a training or an evaluation does not take of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.log_span import FEWEST, late_events
from omnisearch.data.catalogue.pairs import DATASETS, Caps, counted_pairs
from omnisearch.data.catalogue.splits import Split, Window, training_may_see
from omnisearch.data.workspace.dates import day

if TYPE_CHECKING:
    import sqlite_utils

_THERE = (
    "entity = 'query' OR entity = 'pin' AND item_id IN (SELECT id FROM pins) "
    "OR entity = 'product' AND item_id IN (SELECT id FROM products)"
)
_GONE = "their pin or product is not in the catalogue; import it"
_TRAINED = " OR ".join(
    f"entity = '{entity}' AND action IN ({', '.join(map(repr, actions))})"
    for entity, actions in DATASETS.values()
)


def training_left_out(
    db: sqlite_utils.Database, split: Split, caps: Caps | None = None
) -> list[LeftOut]:
    """What `pairs.training_pairs` does not take of the engagement in the log.

    An event is counted once, by the first reason; impressions are no engagement.
    """
    caps = caps or Caps()
    counted = f"""SELECT CASE
            WHEN time >= ? THEN 'later'
            WHEN NOT ({_TRAINED}) THEN 'action'
            WHEN NOT ({training_may_see("query")}) THEN 'held'
            WHEN entity = 'query' AND NOT ({training_may_see("item_id")}) THEN 'held'
            WHEN entity = 'query' AND item_id = query THEN 'itself'
            WHEN NOT ({_THERE}) THEN 'gone'
        END AS reason, COUNT(*) FROM engagements WHERE action <> 'impression' GROUP BY reason"""
    reasons = dict(db.conn.execute(counted, [split.train_until]).fetchall())
    strays = late_events(db, split.eval_until)
    apart = "the rankers and the evaluation need what encoders have not seen"
    capped = sum(each.pairs - each.kept for each in counted_pairs(db, split, caps).values())
    return some(
        [
            LeftOut(
                max(0, reasons.get("later", 0) - strays),
                f"events since {day(split.train_until)}",
                apart,
            ),
            _strays(strays, split),
            LeftOut(
                reasons.get("action", 0),
                "events with other actions",
                "encoders learn from saves, long clicks, carts and purchases, and from clicks on "
                "related queries; plain clicks are for enrichment and the rankers",
            ),
            LeftOut(
                reasons.get("held", 0),
                "events of held-out queries",
                "their data set keeps these queries for validation or test",
            ),
            LeftOut(
                reasons.get("itself", 0),
                "clicks from a query to itself",
                "there is nothing to learn from them",
            ),
            LeftOut(reasons.get("gone", 0), "events", _GONE),
            LeftOut(
                capped,
                "pairs of popular items",
                f"a pin is in at most {caps.pin:,} pairs and a product in {caps.product:,} of each "
                "kind, so that the best known items do not outweigh all others",
            ),
        ]
    )


def window_left_out(db: sqlite_utils.Database, split: Split, window: Window) -> list[LeftOut]:
    """What an evaluation does not take of the engagement in its window, and strays behind it."""
    ((gone,),) = db.conn.execute(
        "SELECT COUNT(*) FROM engagements WHERE time >= ? AND time < ? "
        f"AND action <> 'impression' AND NOT ({_THERE})",
        window,
    )
    return some([LeftOut(gone, "events", _GONE), _strays(late_events(db, split.eval_until), split)])


def _strays(count: int, split: Split) -> LeftOut:
    return LeftOut(
        count,
        f"events since {day(split.eval_until)}",
        f"they are too few, of fewer than {FEWEST} queries in a week, to move the days that are "
        "measured; more events do",
    )
