"""MS-COCO captions (`coco_captions`): the publisher's `captions_*.json`.

Images are pins. An image's captions are ordered by annotation id. The first is held out as an
evaluation query (split 'test', with a judgment of grade 1 for its image), the second is the pin's
title, the third its machine caption. The others are queries through which it was saved, except for
three in ten of them, chosen by a hash of the text: validation queries, judged like the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from omnisearch.data.importers.datasets.labels import Splits, derived, note_derived, split_of
from omnisearch.data.importers.files import import_rows
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, file_of, numbered
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress

# (pin id, image, captions in order)
Picture = tuple[str, str | None, list[str]]


def import_coco(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import pins, queries, judgments and derived engagement; ids become 'coco:<image id>'.

    The publisher's file is one JSON document, and is read whole.
    """
    path = file_of(folder, "captions_val2017.json", "captions_train2017.json", ".json")
    pictures = _pictures(path)
    splits = Splits(workspace)
    for _, _, captions in pictures:
        splits.hold_out(captions[0], "test")
    for _, _, captions in pictures:
        for text in captions[3:]:
            if split_of(normalise_query(text)) == "valid":
                splits.hold_out(text, "valid")
    note_derived(workspace, "coco")

    def take(kind: str, rows: Iterable[Values]) -> Report:
        return import_rows(workspace, path, kind, numbered("json", rows), progress=progress)

    return [
        take("pins", (_pin(picture) for picture in pictures)),
        take("queries", _queries(pictures, splits)),
        take("judgments", _judgments(pictures, splits)),
        take("engagements", _engagements(pictures, splits)),
    ]


def _pictures(path: Path) -> list[Picture]:
    """The images with at least three captions."""
    try:
        document = orjson.loads(path.read_bytes())
        captions: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for annotation in document["annotations"]:
            text = " ".join(annotation["caption"].split())
            captions[annotation["image_id"]].append((annotation["id"], text))
        return [
            (
                f"coco:{image['id']}",
                image.get("coco_url"),
                [text for _, text in sorted(captions[image["id"]])],
            )
            for image in document["images"]
            if len(captions[image["id"]]) >= 3
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The captions cannot be read ({type(error).__name__}: {error}).",
            where=str(path),
            how='Expected the publisher\'s {"images": [...], "annotations": [...]}.',
        ) from error


def _pin(picture: Picture) -> Values:
    key, image, captions = picture
    return {
        "id": key,
        "title": captions[1],
        "caption": captions[2],
        "image": image,
        "language": "en",
    }


def _queries(pictures: list[Picture], splits: Splits) -> Iterator[Values]:
    seen: set[str] = set()
    for _, _, captions in pictures:
        for text in (captions[0], *captions[3:]):
            if text not in seen:
                seen.add(text)
                yield {"text": text, "language": "en", "split": splits.of(text, "train")}


def _judgments(pictures: list[Picture], splits: Splits) -> Iterator[Values]:
    for key, _, captions in pictures:
        held_out = [text for text in captions[3:] if splits.of(text, "train") == "valid"]
        for text in dict.fromkeys([captions[0], *held_out]):
            yield {"query": text, "entity": "pin", "item_id": key, "grade": 1, "judge": "coco"}


def _engagements(pictures: list[Picture], splits: Splits) -> Iterator[Values]:
    for key, _, captions in pictures:
        for text in captions[3:]:
            if splits.of(text, "train") == "train":
                yield derived(text, key, "pin", "save")
