"""Who gets which variant: by a hash of the user's id, the same in every process and for ever.

No id is stored. What stands for it is its hash under a key of the workspace (32 random bytes), so
that nobody can look for a known id in a log without the key.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right

from omnisearch.evaluation.experiments.definition import BUCKETS, Experiment, Variant

USER_BYTES = 16


def user_hash(user: str, key: bytes) -> bytes:
    """(USER_BYTES,) what stands for a user's id in the log of searches."""
    return hashlib.blake2b(user.encode(), key=key, digest_size=USER_BYTES).digest()


def variant_of(experiment: Experiment, traffic: float, user: bytes) -> Variant | None:
    """The variant of a user, by `user_hash`; None for those who do not take part.

    With more traffic further users take part, and nobody changes the variant.

    Args:
        traffic: percent of the users who take part.
    """
    if _bucket(experiment.name, "traffic", user) >= traffic * BUCKETS / 100:
        return None
    place = bisect_right(experiment.buckets(), _bucket(experiment.name, "variant", user))
    return experiment.variants[place]


def _bucket(name: str, what: str, user: bytes) -> int:
    """0 to BUCKETS - 1, of each experiment and question independently."""
    digest = hashlib.blake2b(f"{what} {name} ".encode() + user, digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
