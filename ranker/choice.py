"""Which of the trained rankers goes live, by the order that they give held-out queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Values = dict[str, np.ndarray]  # ordering → nDCG@10 of each query (q,)
FEWEST, FEW = 20, 300  # queries that can tell a loss from chance, and what is few of them


def chosen_order(values: Sequence[Values]) -> str:
    """'l2', else 'l1', else '' for neither: the first that loses to none of the simpler orders.

    An order loses where its nDCG@10 is lower (`loses`) on the queries of one kind of label. Of few
    queries (FEW) chance explains much: there it must not be lower than the starter ranker's at all,
    on average over the kinds.

    Args:
        values: for each kind of label, ordering → nDCG@10 of each query among its labelled
            candidates. Those that nobody labelled are left out (condensed lists; Sakai, 2007): an
            order is then not worse for showing what the logged search never did.
    """
    simple = ("starter", "rrf", "token")
    few = [found for found in values if len(found["starter"]) < FEW]
    for name, simpler in (("l2", ("l1", *simple)), ("l1", simple)):
        lost = any(loses(found[name], found[other]) for found in values for other in simpler)
        gain = sum(found[name].mean() - found["starter"].mean() for found in few)
        if not lost and gain >= 0:
            return name
    return ""


def loses(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether ours are lower by more than chance explains: one-sided, 95%.

    Args:
        ours, theirs: (q,) values of the same queries; fewer than FEWEST say nothing.
    """
    if len(ours) < FEWEST:
        return False
    differences = ours - theirs
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() + 1.645 * error < 0)
