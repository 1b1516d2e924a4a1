"""Runs many commands in one process: a signal that ends it ends the test, not pytest."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

from omnisearch.cli.main import main


def fill(disk: Path, left: int) -> None:
    """Fill the disk up to some bytes."""
    (disk / "filler").unlink(missing_ok=True)
    there = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, there.f_bavail * there.f_frsize - left)


results = []
for words in json.loads(sys.argv[1]):
    if words[0] == "fill":
        fill(Path(words[1]), int(words[2]))
        continue
    said = io.StringIO()
    sys.argv = ["omnisearch", *words]
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    results.append((code, said.getvalue()))
print(json.dumps(results))
