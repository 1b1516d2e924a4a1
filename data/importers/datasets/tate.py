"""The Tate collection (`tate`): `artworks.jsonl` and `subjects.json`.

Works are pins; artists, groups and movements are boards. A subject that people tagged works with is
a query: its name is the text, and each of its works gets a judgment of grade 1. Engagement derived
for training queries: each such work is saved.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from omnisearch.data.importers.datasets.labels import Splits, derived, note_derived
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, file_of, once, take
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress


def import_tate(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import pins, boards, queries, judgments and derived engagement; ids become 'tate:<id>'."""
    works = file_of(folder, "artworks.jsonl")
    names = _subject_names(file_of(folder, "subjects.json"))
    splits = Splits(workspace)
    note_derived(workspace, "tate")

    def subjects(values: Values) -> list[str]:
        return list(dict.fromkeys(names[subject] for subject in values["subj"]))

    def query(values: Values) -> list[Values]:
        return [
            {"text": name, "language": "en", "split": splits.of(name)} for name in subjects(values)
        ]

    def judgment(values: Values) -> list[Values]:
        row = {"entity": "pin", "item_id": _id(values), "grade": 1, "judge": "tate"}
        return [row | {"query": name} for name in subjects(values)]

    def engagement(values: Values) -> list[Values]:
        training = [name for name in subjects(values) if splits.of(name) == "train"]
        return [derived(name, _id(values), "pin", "save") for name in training]

    return [
        take(workspace, works, "pins", _pin, progress),
        take(workspace, works, "boards", once("id", _boards), progress),
        take(workspace, works, "board_items", _board_items, progress),
        take(workspace, works, "queries", once("text", query), progress),
        take(workspace, works, "judgments", judgment, progress),
        take(workspace, works, "engagements", engagement, progress),
    ]


def _subject_names(path: Path) -> dict[int, str]:
    """Subject id → name."""
    try:
        subjects = orjson.loads(path.read_bytes())
        return {int(key): subject["name"] for key, subject in subjects.items()}
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The subjects cannot be read ({error}).",
            where=str(path),
            how='Expected {"<id>": {"name": ..., "path": [...]}}.',
        ) from error


def _id(values: Values) -> str:
    return f"tate:{int(values['id'])}"


def _pin(values: Values) -> list[Values]:
    about = [values.get("medium"), values.get("date")]
    return [
        {
            "id": _id(values),
            "title": values["title"],
            "description": ", ".join(text for text in about if text) or None,
            "image": values.get("thumb"),
            "language": "en",
        }
    ]


def _boards(values: Values) -> list[Values]:
    """The boards of a work: its artist, its group and its movements."""
    named = [("artist", values.get("artist")), ("group", values.get("group"))]
    named += [("movement", movement) for movement in values.get("movements") or []]
    return [
        {"id": f"tate:{what}:{name}"[:512], "title": name, "language": "en"}
        for what, name in named
        if name
    ]


def _board_items(values: Values) -> list[Values]:
    item = {"entity": "pin", "item_id": _id(values)}
    return [item | {"board_id": board["id"]} for board in _boards(values)]
