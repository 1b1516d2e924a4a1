"""The workspace that `faults.py` damages, and commands run in forked processes."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from omnisearch import pipeline
from omnisearch.cli.main import main
from omnisearch.data.catalogue.feedback import add_events, add_judgments, open_feedback
from omnisearch.data.catalogue.searches import Logged, add_searches, open_searches
from omnisearch.data.workspace import Workspace
from omnisearch.enrichment.vision_models import Cache
from omnisearch.world import generate

QUERIES = ("antique copper bathroom sink", "boho bedroom", "garden")
HANG_SECONDS = 120
BUG = b"This is a bug in OmniSearch"
# Not part of what is damaged: the sample world's own files.
WORLD = "world"
RULES = """version = 1
[[synonyms]]
words = ["sink", "basin"]
[[pin]]
query = ["garden"]
item = "pin/{id}"
place = 2
"""
EXPERIMENT = """name = "narrower"
[variants.control]
[variants.narrower]
engine = { l1_keep = 100 }
"""
LABELS = "query,label\nboho bedroom,Home\nbathroom sink,Home\ngarden,Outdoor\ngarden path,Outdoor\n"


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
        told = self.status in range(7)  # 5 and 6: refresh, with its report
        bug = BUG in self.err or b"Traceback (most recent call last)" in self.err
        return "bug" if bug or not told else None


def make_base(root: Path) -> None:
    """A workspace with everything in it, and the logs of a service that had an experiment."""
    generate("tiny", root / WORLD)
    workspace = Workspace.create(root)
    pipeline.import_files(workspace, [root / WORLD])
    pin = orjson.loads((root / WORLD / "pins.jsonl").read_bytes().splitlines()[0])["id"]
    with tempfile.TemporaryDirectory() as scratch:
        rules, experiment = Path(scratch) / "rules.toml", Path(scratch) / "narrower.toml"
        labels = Path(scratch) / "labels.csv"
        rules.write_text(RULES.replace("{id}", pin))
        experiment.write_text(EXPERIMENT)
        labels.write_text(LABELS)
        for words in (
            ["enrich"],
            ["train", "--preset", "tiny", "--steps", "20"],
            ["index", "build"],
            ["rank", "train"],
            ["export", "onnx"],
            ["classify", "train", str(labels)],
            ["rules", "apply", str(rules)],
            ["experiment", "create", str(experiment)],
            ["experiment", "start", "narrower"],
            ["judge", "draw", "spring", "--systems", "token,full", "--number", "4", "-k", "4"],
            ["search", QUERIES[0]],
        ):
            done = command(root, *words)
            if done.status:
                raise SystemExit(f"the workspace could not be made: {words} {done.err.decode()}")
    _add_logs(workspace, pin)


def _add_logs(workspace: Workspace, pin: str) -> None:
    """What a service logs: searches of an experiment's users, their events, a judgment."""
    about = {"query": QUERIES[1], "entity": "pin", "item_id": pin}
    event = {**about, "action": "save", "time": 1_700_000_000}
    events = [
        (f"e{n}", orjson.dumps({**event, "event_id": f"e{n}", "request_id": f"r{n}"}))
        for n in range(50)
    ]
    grade = orjson.dumps({**about, "grade": 2})
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        add_events(log, events, 1_700_000_000)
        add_judgments(log, [(orjson.dumps([QUERIES[1], "pin", pin, ""]).decode(), grade)], 1)
    rows = [
        Logged(
            *(f"r{n}", 1_700_000_000_000 + n, bytes([n] * 16), "narrower"),
            *(("control", "narrower")[n % 2], QUERIES[1], "en", 0, 100, 9.0, 1),
        )
        for n in range(80)
    ]
    with closing(open_searches(workspace.searches, create=True)) as searches:
        add_searches(searches, rows)
    pictures = Cache(workspace, "a model")
    pictures.put({f"{n:064x}": bytes(64) for n in range(50)})
    pictures.close()


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
        for _ in range(HANG_SECONDS):  # one by one: a pause of all processes is no hang
            ended, _, _ = select.select([descriptor], [], [], 1.0)
            if ended:
                break
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
