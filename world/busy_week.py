"""The days that a sample world is measured on, simulated again with more traffic than its log has.

Only evaluation may read what comes of it: it is made of the truth, in memory, and written nowhere.
"""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.text.normalise import normalise_query
from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import load_lexicon
from omnisearch.world.production import Production
from omnisearch.world.related import related_queries
from omnisearch.world.sessions import session_times, simulate
from omnisearch.world.sizes import Size
from omnisearch.world.truth import Truth

IMPRESSION = ACTIONS.index("impression")
Pair = tuple[str, str]  # normalised query, item id or normalised related query


def busy_week(
    truth: Truth, seed: int, window: tuple[int, int], traffic: int
) -> dict[str, list[Pair]]:
    """The unique pairs engaged in a window by '<entity>/<action>', such as 'pin/save', sorted.

    The same users search the same items by the same click model as in `generate(..., seed)`, and
    are offered the same related queries. The simulated search has built its index anew, as it does
    every 30 days, and has shown nothing before.

    Args:
        window: [from, until) in seconds since 1970. traffic: how many times the log's sessions.
    """
    production = Production.of(load_lexicon(), truth.items, truth.queries)
    # The world's own draws are [seed, 0] to [seed, 7]; its related queries come from [seed, 5].
    related = related_queries(truth.tree, truth.queries, np.random.default_rng([seed, 5]))
    rng = np.random.default_rng([seed, 8])
    times = session_times(traffic * Size(truth.items.pins).sessions, rng)
    times = times[(times >= window[0]) & (times < window[1])]
    texts = [normalise_query(text) for text in truth.queries.text]
    found: dict[str, set[Pair]] = {}
    for _, rows in simulate(production, related, times, rng):
        counts = (rows.action != IMPRESSION) & (rows.time >= window[0]) & (rows.time < window[1])
        entity = np.where(rows.is_query, 2, rows.target >= truth.items.pins)
        columns = np.stack([entity, rows.action, rows.query, rows.target], axis=1)[counts]
        for kind, action, query, target in np.unique(columns, axis=0).tolist():
            of = found.setdefault(f"{('pin', 'product', 'query')[kind]}/{ACTIONS[action]}", set())
            of.add((texts[query], texts[target] if kind == 2 else item_id(truth.items, target)))
    # As in the catalogue: a query is not related to itself.
    found = {name: {pair for pair in of if pair[0] != pair[1]} for name, of in found.items()}
    return {name: sorted(of) for name, of in sorted(found.items())}
