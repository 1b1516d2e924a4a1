"""The blend: pins and products in one feed, with bounds on ads and on either entity type.

The rule is greedy from the first position on, so a longer feed begins with the shorter one, and
paging is stable. At position p (1 is the first) the best remaining candidate is taken, but

1. while an entity type with remaining candidates has fewer than floor(p * min_share) positions, the
   best of that type is taken;
2. an ad is skipped while ads have ceil(p * ad_share) positions and candidates that are not ads
   remain.

The first rule applies only among candidates that the second permits. Candidates that a shop's rules
pin have their places whatever the bounds say, and count for the bounds of the others.

The ads of campaigns are not among the ranked candidates: the first of them that is left takes every
position where rule 2 permits an ad and rule 1 does not want another entity type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-9  # floor(20 * 0.05) is 1, whatever floating point makes of the product


@dataclass(frozen=True)
class Shares:
    """Bounds of the blend: 1.0 and 0.0 switch them off."""

    ad_share: float = 1.0
    min_share: float = 0.0


def blend(
    order: np.ndarray,
    entity: np.ndarray,
    is_ad: np.ndarray,
    shares: Shares,
    places: int,
    pinned: Mapping[int, int] | None = None,
    placed: Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """The first `places` positions of the feed.

    Args:
        order: int64 (m,) candidates, best first.
        entity: uint8 (n,), 0 pin and 1 product; is_ad: bool (n,): of all candidates.
        pinned: place → the candidate that is there, none of `order`; no place is beyond the end.
        placed: candidates that are ads of campaigns, the best first, none of the others.

    Returns:
        int64 (p,) candidates in feed order, and bool (p,): whether a bound, not the score, decided
        the position; p is the smaller of `places` and of m and those that are pinned or placed
        together.
    """
    pinned = pinned or {}
    places = min(places, len(order) + len(pinned) + len(placed))
    group = 2 * entity[order] + is_ad[order]  # 0 pin, 1 pin ad, 2 product, 3 product ad
    none_left, ranked = len(order), order.tolist()
    queues = [
        [*np.flatnonzero(group == number)[:places].tolist(), none_left] for number in range(4)
    ]
    heads, taken, ads = [0, 0, 0, 0], [0, 0], 0
    feed, bounded, sold = [], [], 0
    for place in range(1, places + 1):
        if place in pinned:
            feed.append(pinned[place])
            bounded.append(False)
            taken[int(entity[pinned[place]])] += 1
            ads += int(is_ad[pinned[place]])
            continue
        next_of = [queue[head] for queue, head in zip(queues, heads, strict=True)]
        best = chosen = min(next_of)
        ads_full = ads >= math.ceil(place * shares.ad_share - _EPSILON)
        if ads_full:
            chosen = min(next_of[0], next_of[2])
        due = int(place * shares.min_share + _EPSILON)
        if taken[0] < due or taken[1] < due:
            step = 2 if ads_full else 1
            short = [at for at in (0, 2) if taken[at // 2] < due]
            wanted = min(min(next_of[at : at + 2 : step]) for at in short)
            chosen = wanted if wanted < none_left else chosen
        chosen = chosen if chosen < none_left else best
        if sold < len(placed):
            ad = placed[sold]
            kind = int(entity[ad])
            wanted = chosen < none_left and taken[next_of.index(chosen) // 2] < due
            if chosen == none_left or not (ads_full or (wanted and taken[kind] >= due)):
                feed.append(ad)
                bounded.append(False)
                taken[kind] += 1
                ads, sold = ads + 1, sold + 1
                continue
        number = next_of.index(chosen)
        feed.append(ranked[chosen])
        bounded.append(chosen != best)
        heads[number] += 1
        taken[number // 2] += 1
        ads += number % 2
    return np.array(feed, np.int64), np.array(bounded, bool)


def most_ads(others: int, ads: int, share: float) -> int:
    """How many of `ads` have a place among so many others: the share holds for the whole feed."""
    while ads > 0 and ads > math.ceil((others + ads) * share - _EPSILON):
        ads -= 1
    return ads
