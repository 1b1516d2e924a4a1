"""What labelled data sets share: queries are split before any label is used.

Labels are human judgments, not clicks. The judgments of all queries are imported; only those of
'train' queries also become engagement, so that no model learns from a label that it is measured on.
The catalogue's note `derived_from_labels` lists these data sets.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from omnisearch.data.catalogue.schema import get_meta, open_catalogue, set_meta
from omnisearch.data.catalogue.splits import held_out
from omnisearch.data.importers.readers import open_source
from omnisearch.data.importers.translate import Values
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace

DERIVED_TIME = 1_577_836_800  # 2020-01-01: labels have no time of their own
FEW = 500  # queries: see Splits


class Splits:
    """The split of each query: 50% train, 30% valid, 20% test by a hash of its id.

    The encoders learn from `train`, the rankers from `valid`: they need queries that no encoder was
    trained on. A set of fewer than FEW queries gives all but the test queries to the rankers,
    because so few can train a ranker but not an embedding.

    A query that the catalogue already holds out keeps its split, because data sets share queries.
    """

    def __init__(self, workspace: Workspace, queries: set[str] | None = None) -> None:
        """`queries`: the texts of all queries of the set, if there may be few."""
        workspace.root.mkdir(parents=True, exist_ok=True)
        db = open_catalogue(workspace.catalogue, create=True)
        self._held = held_out(db)
        db.conn.close()
        self._few = queries is not None and len(queries) < FEW

    def of(self, query: str, wanted: str | None = None) -> str:
        """The split of a query's text: `wanted` if given, otherwise by the hash."""
        key = normalise_query(query)
        split = self._held.get(key) or wanted or split_of(key)
        return "valid" if self._few and split == "train" else split

    def hold_out(self, query: str, split: str) -> None:
        """Set a query's split, unless it is already held out."""
        self._held.setdefault(normalise_query(query), split)


def texts_in(path: Path, column: str) -> set[str]:
    """The distinct texts of a column of a file, without rows that cannot be read."""
    found = (row.values.get(column) for row in open_source(path).rows if row.values)
    return {text for text in found if isinstance(text, str)}


def hash_share(key: str) -> float:
    """The hash of a query's id as a number in [0, 1); from 0.8 on the query is for test."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64


def split_of(key: str) -> str:
    """The split of a query by the hash of its id."""
    share = hash_share(key)
    return "train" if share < 0.5 else "valid" if share < 0.8 else "test"


def derived(query: str, item: str, entity: str, action: str) -> Values:
    """An engagement derived from a label."""
    return {
        "time": DERIVED_TIME,
        "query": query,
        "entity": entity,
        "item_id": item,
        "action": action,
        "language": "en",
    }


def note_derived(workspace: Workspace, name: str) -> None:
    """Add a data set to the catalogue's note `derived_from_labels`, a sorted list."""
    db = open_catalogue(workspace.catalogue, create=True)
    with db.conn:
        names = {*get_meta(db, "derived_from_labels", []), name}
        set_meta(db, "derived_from_labels", sorted(names))
    db.conn.close()
