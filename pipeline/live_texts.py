"""Embeds the texts that change in the catalogue again and again, with the encoder kept open."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from omnisearch.data.catalogue.changes import changed_since, latest_change
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.data.workspace.errors import InputError
from omnisearch.indexer.generation import folder_of, live_number
from omnisearch.indexer.segment import GENERATION

if TYPE_CHECKING:
    from omnisearch.encoders.text_encoder import TextTower


class LiveTexts:
    """The texts of a catalogue, for one process that embeds them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._tower: TextTower | None = None
        self._note: dict[str, Any] | None = None  # of the tower: what it says of its encoder
        self._embedded = -1  # the last change whose text is embedded

    def embed(self) -> None:
        """Embed the texts that are new or have changed since the last call.

        Nothing happens where the encoder of the others is not on this machine.

        Raises:
            NotReady: there is no generation.
            Corrupt: a file is damaged.
            Unavailable: another process keeps the catalogue locked.
        """
        if self._embedded < 0:  # `index build` embeds all texts
            folder = folder_of(self.workspace, live_number(self.workspace))
            first = read_manifest(folder, GENERATION)["segments"][0]
            built = read_manifest(folder_of(self.workspace, first), GENERATION)
            self._embedded = built["change"]
        db = open_catalogue(self.workspace.catalogue)
        with closing(db.conn), suppress(InputError):
            until = latest_change(db)
            changed = changed_since(db, self._embedded)
            among = {entity: changed.get(entity, []) for entity in ITEM_ENTITIES}
            if any(among.values()):
                from omnisearch.enrichment.text import NOTE, open_tower, refresh_texts

                note = get_meta(db, NOTE)
                if self._tower is None or note != self._note:  # `enrich text` with another encoder
                    self._tower, self._note = open_tower(self.workspace, db), note
                refresh_texts(self.workspace, db, among=among, tower=self._tower)
        self._embedded = until
