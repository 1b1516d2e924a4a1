"""The manifest of a data set: what it holds, and the size and sha256 of every file.

It is written when all other files are there: without it a data set is the rest of an export that
was stopped, and is not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omnisearch.data.catalogue.schema import SCHEMA_VERSION
from omnisearch.data.dataset.layout import OLDEST_SCHEMA, is_passing, table_in
from omnisearch.data.dataset.place import Place
from omnisearch.data.workspace.artefacts import Kind, is_intact, manifest_of
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.reading import load_json

MANIFEST = "manifest.json"
NEXT = "next-manifest.json"  # there while files are replaced: see `replacing`
CATALOGUE = Kind("data set", 1, again="Export the catalogue again.")
_HOLDS = "catalogue"
_FILES = {str: {"bytes": int, "sha256": str}}
_SHAPE = {
    "holds": str,
    "schema": int,
    "last_change": int,
    "buckets": int,
    "rows": {str: int},
    "files": _FILES,
}
AGAIN = "Copy it again, or export the catalogue again; nothing was changed."


@dataclass(frozen=True)
class Manifest:
    """What a data set holds.

    Attributes:
        buckets: how many there are of each entity type.
        rows: table → number of rows.
        last_change: the number of the catalogue's last change.
        files: name → {"bytes", "sha256"}, ascending.
    """

    buckets: int
    rows: dict[str, int]
    last_change: int
    files: dict[str, dict[str, Any]]

    def write(self, place: Place) -> None:
        """Write the manifest, when all files of the data set are in place."""
        place.write(MANIFEST, self.content())

    def content(self) -> bytes:
        """The file `manifest.json`."""
        facts = {
            "holds": _HOLDS,
            "schema": SCHEMA_VERSION,
            "buckets": self.buckets,
            "rows": self.rows,
            "last_change": self.last_change,
        }
        return manifest_of(CATALOGUE, facts, self.files)


def read_manifest(place: Place) -> Manifest:
    """The manifest of the catalogue at a place, which has exactly the files that it names.

    Raises:
        InputError: there is no data set, or one of another program, of another schema, or of
            something else than a catalogue; or its files are being replaced.
        Corrupt: the manifest is damaged, or files are missing or too many.
    """
    content = place.read(MANIFEST)
    names = [name for name in place.names() if not is_passing(name)]
    if NEXT in names:
        raise InputError(
            "Files of the data set are being replaced, or that was stopped.",
            where=place.url,
            how="Wait for `omnisearch catalogue enrich` to end. If it was stopped, run it again.",
        )
    if content is None:
        raise InputError(
            "There is no data set: the manifest is missing, which an export writes last."
            if names
            else "There is nothing at this place.",
            where=place.url,
            how="Name the folder or URL of a finished `omnisearch catalogue export`.",
        )
    found = _parsed(content, place)
    unknown = [name for name in found["files"] if table_in(name) is None]
    if unknown:
        what = f"The data set has {unknown[0]!r:.80}, which is no file of a catalogue."
        raise InputError(what, where=place.url, how="Import it with the OmniSearch that made it.")
    differing = sorted({MANIFEST, *found["files"]} ^ set(names))
    if differing:
        name = differing[0]
        says = "is missing" if name in found["files"] else "is not in the manifest"
        more = f" So are {len(differing) - 1:,} more." if len(differing) > 1 else ""
        raise Corrupt(f"{name} {says}.{more}", where=place.url, how=AGAIN)
    files = dict(sorted(found["files"].items()))
    return Manifest(found["buckets"], found["rows"], found["last_change"], files)


def _parsed(content: bytes, place: Place) -> dict[str, Any]:
    try:
        said = load_json(content, {"format": int, "files": dict})
    except ValueError as error:
        what = f"The manifest of the data set cannot be read ({error})."
        raise Corrupt(what, where=f"{place.url}/{MANIFEST}", how=AGAIN) from error
    if said.get("holds") != _HOLDS:
        raise InputError(
            "This is no catalogue that OmniSearch exported.",
            where=place.url,
            how="Files of other programs are read by `omnisearch import`.",
        )
    schema = said.get("schema")
    known = type(schema) is int and OLDEST_SCHEMA <= schema <= SCHEMA_VERSION
    if said["format"] != CATALOGUE.format or not known:
        newer = said["format"] > CATALOGUE.format or (
            type(schema) is int and schema > SCHEMA_VERSION
        )
        how = (
            "Update OmniSearch, then import it again."
            if newer
            else "Import it with the OmniSearch that made it; this one reads that workspace."
        )
        raise InputError(
            f"The data set has format {said['format']} and schema {schema}, this program reads "
            f"format {CATALOGUE.format} and schemas {OLDEST_SCHEMA} to {SCHEMA_VERSION}.",
            where=place.url,
            how=how,
        )
    if not is_intact(said):
        what = "The manifest of the data set was changed."
        raise Corrupt(what, where=f"{place.url}/{MANIFEST}", how=AGAIN)
    try:
        return load_json(content, _SHAPE)  # type: ignore[no-any-return]
    except ValueError as error:
        what = f"The manifest of the data set cannot be read ({error})."
        raise Corrupt(what, where=f"{place.url}/{MANIFEST}", how=AGAIN) from error
