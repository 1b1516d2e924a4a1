"""Commands killed (-9) at every step that touches a file, and at random moments."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
from faults_base import QUERIES, answers, command, copy_of

# What Python tells an audit hook before it happens: the steps at which a command may be killed.
STEPS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "open", "tempfile.mkstemp", "os.link")
# Files that begin with a dot and belong there: locks, and those of tantivy.
BELONG = (
    *(".lock", ".index.lock", ".publish.lock"),
    *(".managed.json", ".tantivy-meta.lock", ".tantivy-writer.lock"),
)
CHANGED = '{{"id": "{id}", "title": "boho bedroom bench number {id}"}}\n'
COMMANDS = (
    ("import", "changed.jsonl", "--kind", "pins"),
    ("index", "update"),
    ("index", "build"),
    ("enrich", "boards"),
    ("rank", "train"),
    ("export", "onnx"),
    ("train", "--preset", "tiny", "--steps", "3"),
)


@dataclass(frozen=True)
class Killed:
    """One command killed once, and what was wrong afterwards (empty: nothing)."""

    words: tuple[str, ...]
    at: str
    killed: bool
    wrong: str


def kills(base: Path, count: int, seed: int, processes: int, folder: Path) -> Iterator[Killed]:
    """Kill commands `count` times; after each, search, run the command again, and compare."""
    prepared = folder / "prepared"
    copy_of(base, prepared)
    (prepared / "changed.jsonl").write_text(
        "".join(CHANGED.format(id=row["id"]) for row in _pins(base)[:20])
    )
    assert command(prepared, *_words(prepared, COMMANDS[0])).status == 0
    plans = [_plan(prepared, words, folder) for words in COMMANDS]
    draw = random.Random(seed)
    drawn = []
    for number in range(count):
        plan = plans[number % len(plans)]
        # Half of them at a random moment. A command that only writes to SQLite has no steps.
        by_step = plan.steps > 0 and draw.random() < 0.5
        step = draw.randint(1, plan.steps) if by_step else None
        drawn.append((plan, step, draw.random() * plan.seconds))
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield from pool.map(partial(_kill, prepared, folder), drawn)


@dataclass(frozen=True)
class _Plan:
    """A command, how many steps and seconds it takes, and the results before and after it."""

    words: tuple[str, ...]
    steps: int
    seconds: float
    before: Any
    after: Any


def _plan(prepared: Path, words: tuple[str, ...], folder: Path) -> _Plan:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root = Path(scratch) / "w"
        copy_of(prepared, root)
        before = answers(root, QUERIES[1])[1]
        counted = Path(scratch) / "steps"
        began = time.monotonic()
        done = command(root, *_words(root, words), prepare=lambda: _count(counted))
        assert done.status == 0, done.err.decode()
        seconds = time.monotonic() - began
        after = answers(root, QUERIES[1])[1]
        return _Plan(words, counted.stat().st_size, seconds, before, after)


def _kill(prepared: Path, folder: Path, drawn: tuple[_Plan, int | None, float]) -> Killed:
    plan, step, seconds = drawn
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root = Path(scratch) / "w"
        copy_of(prepared, root)
        words = _words(root, plan.words)
        end: Callable[[], None] = partial(_end_at, step) if step else partial(_end_after, seconds)
        done = command(root, *words, prepare=end)
        at = f"step {step} of {plan.steps}" if step else f"{seconds:.2f} s"
        wrong = _wrong(root, plan, words)
        return Killed(plan.words, at, done.status == -signal.SIGKILL, wrong)


def _wrong(root: Path, plan: _Plan, words: list[str]) -> str:
    """What is wrong with a workspace in which the command was killed; empty if nothing is."""
    status, (done, found) = command(root, "status"), answers(root, QUERIES[1])
    if status.status != 0 or done.status != 0:
        return f"after the kill: {(status.err or done.err).decode()[-300:]}"
    if found not in (plan.before, plan.after):
        return "the results are neither the old nor the new ones"
    again = command(root, *words)
    if again.status != 0:
        return f"run again: {again.err.decode()[-300:]}"
    if answers(root, QUERIES[1])[1] != plan.after:
        return "run again, the results are not the new ones"
    left = [path.relative_to(root).as_posix() for path in root.rglob(".*")]
    left = [name for name in left if Path(name).name not in BELONG]
    return f"left over: {', '.join(left[:3])}" if left else ""


def _words(root: Path, words: tuple[str, ...]) -> list[str]:
    return [str(root / word) if word.endswith(".jsonl") else word for word in words]


def _pins(base: Path) -> list[dict[str, Any]]:
    lines = (base / "world" / "pins.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def _is_step(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an audit event is about to change a file; reading is none of the steps."""
    if event != "open":
        return event in STEPS
    mode, flags = args[1], args[2]
    return bool(mode and set(mode) & set("wax+")) or bool(
        isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
    )


def _count(file: Path) -> None:
    """Append a byte to `file` at each step."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _is_step(event, args):
            os.write(descriptor, b".")

    sys.addaudithook(hook)


def _end_at(step: int | None) -> None:
    """Kill this process before its `step`-th step."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if _is_step(event, args):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _end_after(seconds: float) -> None:
    """Kill this process after a while."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
