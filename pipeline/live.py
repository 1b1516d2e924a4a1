"""Publishes the catalogue's changes again and again, with the encoders kept open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from omnisearch.data.catalogue.changes import latest_change
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import read_manifest
from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.parent import follow
from omnisearch.data.workspace.settings import load_section
from omnisearch.encoders.light import LightEncoder
from omnisearch.encoders.no_encoder import NONE, NoEncoder
from omnisearch.encoders.onnx.query_tower import open_export
from omnisearch.indexer.build import BuildOptions, build
from omnisearch.indexer.generation import folder_of, live_number
from omnisearch.indexer.merging import merge
from omnisearch.indexer.publish import ENCODER
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import ItemsAndQueries
from omnisearch.indexer.update import update

# At least between the beginnings of two builds, or two merges.
_SECONDS = {"build": 60.0, "merge": 5.0}
# Items of a segment that a publication writes anew: more would hold up whoever waits for it.
_MOST = 256
_APART = "import sys; from omnisearch.pipeline.live import write_anew; write_anew(*sys.argv[1:])"


def write_anew(what: str, root: str, parent: str) -> None:
    """Build the live generation again, or merge its segments, with its own encoder and at low
    priority; ends the process with a sentence if it cannot, and with the process `parent`, which
    started it.

    Args:
        what: 'build' or 'merge'.
    """
    threading.Thread(target=follow, args=(int(parent),), daemon=True).start()
    os.nice(10)
    workspace = Workspace(Path(root))
    try:
        index = LiveIndex(workspace)
        with closing(index.db.conn):
            if what == "build":
                build(workspace, index.db, index.encoder(), index.options)
            else:
                merge(workspace, index.db, index.encoder(), index.options_of_build())
    except OmniError as error:  # such as another build that is running
        sys.exit(str(error))


class LiveIndex:
    """The live generation and its catalogue, for one process that publishes.

    What it publishes is based on the generation that is live then, also after a build or a
    rollback, with the encoder and the graphs' settings of that one. When a build or a merge is
    due, another process does it, and this one goes on meanwhile.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Raises NotReady, Corrupt or Unavailable if the catalogue cannot be opened."""
        self.workspace = workspace
        self.options = load_section("index", BuildOptions(), workspace.settings)
        self.db = open_catalogue(workspace.catalogue)
        self._encoder: LightEncoder | None = None
        self._live: tuple[int, int] = (-1, -1)  # a generation, and the last change that it has
        self._apart: subprocess.Popen[bytes] | None = None
        self._not_before = dict.fromkeys(_SECONDS, 0.0)

    def behind(self) -> bool:
        """Whether the catalogue has changes that the live generation has not."""
        number = live_number(self.workspace)
        if self._live[0] != number:
            self._live = number, self._manifest(number)["change"]
        return self._live[1] != latest_change(self.db)

    def publish(self) -> int:
        """Publish what has changed; returns the number of the generation that is live.

        Raises:
            NotReady: there is no generation, or another process is building.
            Corrupt: a file is damaged.
        """
        options = self.options_of_build()
        return update(self.workspace, self.db, self.encoder(), options, may_build=False, most=_MOST)

    def options_of_build(self) -> BuildOptions:
        """The settings, with those of graphs as the live generation's build had them."""
        graphs = {name: self._manifest()["options"][name] for name in ("m", "ef_construction")}
        return replace(self.options, **graphs)

    def write_anew_if_due(self) -> None:
        """Begin a build or a merge in a process of its own if the live generation says that one is
        due."""
        if self._apart is not None and self._apart.poll() is None:
            return
        manifest = self._manifest()
        for what, seconds in _SECONDS.items():
            if not manifest.get(f"{what}_due") or time.monotonic() < self._not_before[what]:
                continue
            self._not_before[what] = time.monotonic() + seconds
            command = [sys.executable, "-c", _APART, what, str(self.workspace.root)]
            with suppress(OSError):  # no memory or no processes: later again
                self._apart = subprocess.Popen(
                    [*command, str(os.getpid())], stdin=subprocess.DEVNULL
                )
            return

    def _manifest(self, number: int | None = None) -> dict[str, Any]:
        """That of a generation, the live one by default."""
        number = live_number(self.workspace) if number is None else number
        return read_manifest(folder_of(self.workspace, number), GENERATION)

    def encoder(self) -> ItemsAndQueries:
        """The encoder of the live generation."""
        manifest = self._manifest()
        if manifest["checkpoint"] == NONE:
            return NoEncoder()
        folder = folder_of(self.workspace, manifest["segments"][0]) / ENCODER
        if self._encoder is None or self._encoder.checkpoint != manifest["checkpoint"]:
            opened = partial(open_export, self.workspace)
            self._encoder = LightEncoder(folder, manifest["checkpoint_name"], opened)
        self._encoder.folder = folder  # that of an earlier build may be removed
        return self._encoder
