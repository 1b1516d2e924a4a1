"""The workspace that `faults.py` damages, and commands run in forked processes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from omnisearch import pipeline
from omnisearch.cli.main import main
from omnisearch.data.workspace import Workspace
from omnisearch.world import generate

QUERIES = ("antique copper bathroom sink", "boho bedroom", "garden")
HANG_SECONDS = 120.0
BUG = b"This is a bug in OmniSearch"
# Not part of what is damaged: the sample world's own files.
WORLD = "world"


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: the exit status; negative: the signal that ended it; None: it hung and was killed.
    """

    status: int | None
    out: bytes
    err: bytes

    @property
    def wrong(self) -> str | None:
        """'crash', 'hang' or 'bug' (an error that no user can act on), or None."""
        if self.status is None:
            return "hang"
        if self.status < 0 or b"panicked at" in self.err:
            return "crash"
        told = self.status in (0, 1, 2, 3, 4)
        bug = BUG in self.err or b"Traceback (most recent call last)" in self.err
        return "bug" if bug or not told else None


def make_base(root: Path) -> None:
    """A workspace with everything in it: the tiny world, encoders, index, rankers, an export."""
    generate("tiny", root / WORLD)
    workspace = Workspace.create(root)
    pipeline.import_files(workspace, [root / WORLD])
    for words in (
        ["enrich"],
        ["train", "--preset", "tiny", "--steps", "20"],
        ["index", "build"],
        ["rank", "train"],
        ["export", "onnx"],
        ["search", QUERIES[0]],
    ):
        done = command(root, *words)
        if done.status:
            raise SystemExit(f"the workspace could not be made: {words} {done.err.decode()}")


def copy_of(base: Path, target: Path) -> None:
    """A copy that shares the files that are never changed in place, where it can."""
    shutil.copytree(base, target, copy_function=_link, ignore=shutil.ignore_patterns(WORLD))


def _link(source: str, target: str) -> None:
    if not source.endswith((".db", ".db-wal", ".db-shm", ".lock")):
        with suppress(OSError):  # another file system
            os.link(source, target)
            return
    shutil.copy2(source, target)


def command(root: Path, *words: str, prepare: Callable[[], None] | None = None) -> Outcome:
    """Run an `omnisearch` command on a workspace in a fork of this process.

    Args:
        prepare: called in the fork before the command begins.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _run(root, words, out.fileno(), err.fileno(), prepare)
        status = _wait(pid)
        said = [os.pread(file.fileno(), 10_000_000, 0) for file in (out, err)]
    return Outcome(status, *said)


def _run(
    root: Path, words: tuple[str, ...], out: int, err: int, prepare: Callable[[], None] | None
) -> None:
    """The body of the fork; never returns."""
    status: object = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.argv = ["omnisearch", *words, "--workspace", str(root)]
        if prepare is not None:
            prepare()
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException as error:
        os.write(2, f"Traceback (most recent call last): {error!r}".encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _wait(pid: int) -> int | None:
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], HANG_SECONDS)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if ended else None
    finally:
        os.close(descriptor)


def answers(root: Path, query: str) -> tuple[Outcome, list[tuple[str, str, float]] | None]:
    """A search, and its results: (entity, id, score); None if it failed."""
    done = command(root, "search", query, "--json")
    if done.status != 0:
        return done, None
    found = orjson.loads(done.out)["data"]["hits"]
    return done, [(row["entity"], row["id"], round(row["score"], 4)) for row in found]
