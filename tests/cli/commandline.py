"""The `omnisearch` command in a process of its own, as a user runs it."""

from __future__ import annotations

import subprocess
import sys

MAIN = "from omnisearch.cli.main import main; main()"


def omnisearch(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a user would."""
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if check:
        assert done.returncode == 0, done.stderr
    return done
