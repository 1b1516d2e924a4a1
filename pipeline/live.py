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
from omnisearch.indexer.publish import ENCODER
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import ItemsAndQueries
from omnisearch.indexer.update import update

_BUILD_SECONDS = 60.0  # at least between the beginnings of two builds
_BUILD = "import sys; from omnisearch.pipeline.live import build_anew; build_anew(*sys.argv[1:])"


def build_anew(root: str, parent: str) -> None:
    """Build the live generation again, with its own encoder, at low priority; ends the process with
    a sentence if it cannot, and with the process `parent`, which started it."""
    threading.Thread(target=follow, args=(int(parent),), daemon=True).start()
    os.nice(10)
    workspace = Workspace(Path(root))
    try:
        index = LiveIndex(workspace)
        with closing(index.db.conn):
            build(workspace, index.db, index.encoder(), index.options)
    except OmniError as error:  # such as another build that is running
        sys.exit(str(error))


class LiveIndex:
    """The live generation and its catalogue, for one process that publishes.

    What it publishes is based on the generation that is live then, also after a build or a
    rollback, with the encoder and the graphs' settings of that one. When a build is due, another
    process builds, and this one goes on meanwhile.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Raises NotReady, Corrupt or Unavailable if the catalogue cannot be opened."""
        self.workspace = workspace
        self.options = load_section("index", BuildOptions(), workspace.settings)
        self.db = open_catalogue(workspace.catalogue)
        self._encoder: LightEncoder | None = None
        self._live: tuple[int, int] = (-1, -1)  # a generation, and the last change that it has
        self._building: subprocess.Popen[bytes] | None = None
        self._build_at = 0.0

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
        graphs = {name: self._manifest()["options"][name] for name in ("m", "ef_construction")}
        options = replace(self.options, **graphs)
        return update(self.workspace, self.db, self.encoder(), options, may_build=False)

    def build_if_due(self) -> None:
        """Begin a build in a process of its own if the live generation says that one is due."""
        if self._building is not None and self._building.poll() is None:
            return
        if time.monotonic() < self._build_at or not self._manifest()["build_due"]:
            return
        self._build_at = time.monotonic() + _BUILD_SECONDS
        command = [sys.executable, "-c", _BUILD, str(self.workspace.root), str(os.getpid())]
        with suppress(OSError):  # no memory or no processes: later again
            self._building = subprocess.Popen(command, stdin=subprocess.DEVNULL)

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
