"""Damaged files: every kind of file in a workspace, every kind of damage, drawn from a seed."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import orjson
from faults_base import QUERIES, Outcome, answers, command, copy_of

from omnisearch.data.workspace.artefacts import sealed

DAMAGES = ("bits", "zeros", "truncated", "extended", "swapped", "gone", "folder", "rehashed")
WRITING = (
    ("index", "update"),
    ("index", "build"),
    ("enrich", "boards"),
    ("rank", "train"),
    ("cache", "stats"),
    ("export", "onnx"),
    ("evaluate", "--queries", "20"),
    ("import", "pins.jsonl"),
    ("import", "feedback"),
    ("refresh",),
    ("rules", "list"),
    ("experiment", "report", "narrower"),
    ("experiment", "stop", "narrower"),
    ("classify", "predict", "garden"),
    ("judge", "report", "spring"),
)
# SQLite keeps no hashes, and settings and pointers are the user's to change.
DATABASES = ("catalogue", "feedback", "searches", "query_cache", "text_cache", "image_cache")
UNHASHED = (*(f"{name}.db" for name in DATABASES), "demo.json", "CURRENT", "BEST", "LAST")
UNHASHED_ROOMS = ("experiments", "judging")  # plain files, changed or answered in place


@dataclass(frozen=True)
class Case:
    """One damaged file, and what went wrong.

    Attributes:
        wrong: 'crash', 'hang' or 'bug' of a command; 'silent': a search gave other results without
            a word; 'unseen': `index verify` found nothing wrong with a file that has a hash.
    """

    seed: int
    file: str
    damage: str
    wrong: dict[str, str]


def kind_of(file: str) -> str:
    """The room of a file, for the table."""
    first = file.split("/")[0]
    return first if "/" in file else Path(file).name


def files_of(base: Path) -> list[str]:
    """The files that are damaged, as relative paths."""
    paths = (path for path in sorted(base.rglob("*")) if path.is_file())
    names = [path.relative_to(base).as_posix() for path in paths]
    return [
        name
        for name in names
        if not name.startswith("world/") and not name.endswith((".lock", ".html", "-wal", "-shm"))
    ]


def damaged_files(
    base: Path, count: int, seed: int, processes: int, folder: Path
) -> Iterator[Case]:
    """Damage `count` files, one at a time in a copy of the workspace, and run commands on it."""
    expected = {query: answers_of(base, query, folder) for query in QUERIES}
    run = partial(damaged_file, base, expected, files_of(base), folder)
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        yield from pool.map(run, range(seed, seed + count))


def answers_of(base: Path, query: str, folder: Path) -> list[tuple[str, str, float]] | None:
    """The results of the undamaged workspace."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        copy_of(base, Path(scratch) / "w")
        return answers(Path(scratch) / "w", query)[1]


def damaged_file(
    base: Path, expected: dict[str, object], files: list[str], folder: Path, seed: int
) -> Case:
    """One case: a file and its damage are drawn, so that each room has its share."""
    draw = random.Random(seed)
    rooms = sorted({kind_of(file) for file in files})
    room = draw.choice(rooms)
    file = draw.choice([name for name in files if kind_of(name) == room])
    damage, query = draw.choice(DAMAGES), draw.choice(QUERIES)
    wrong: dict[str, str] = {}

    def judge(name: str, done: Outcome) -> None:
        if done.wrong:
            wrong[name] = f"{done.wrong}: {done.err.decode(errors='replace')[-400:]}"

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        root = Path(scratch) / "w"
        copy_of(base, root)
        if not harm(root, base, file, damage, draw):
            return Case(seed, file, damage, wrong)
        verified = command(root, "index", "verify")
        judge("verify", verified)
        judge("status", command(root, "status"))
        done, found = answers(root, query)
        judge("search", done)
        plain = Path(file).name in UNHASHED or room in UNHASHED_ROOMS
        hashed = not plain and damage != "rehashed"
        if hashed and found is not None and found != expected[query] and not done.err:
            wrong["search"] = "silent: the results differ"
        if hashed and verified.status == 0 and damage != "gone":
            wrong["verify"] = "unseen"
        words = list(draw.choice(WRITING))
        if words[-1] == "pins.jsonl":
            words[1] = str(base / "world" / words[1])
        judge(" ".join(words[:2]), command(root, *words))
        judge("search after it", command(root, "search", query))
    return Case(seed, file, damage, wrong)


def harm(root: Path, base: Path, file: str, damage: str, draw: random.Random) -> bool:
    """Damage one file of `root`; returns whether its content has changed."""
    path = root / file
    before = path.read_bytes()
    content = bytearray(before)
    path.unlink()
    size = len(content)
    if damage == "gone":
        return True
    if damage == "folder":
        path.mkdir()
        return True
    if damage in ("bits", "rehashed") and size:
        # Half of the time near the beginning, where most formats keep their headers.
        reach = min(size, 256) if draw.random() < 0.5 else size
        for _ in range(draw.choice((1, 1, 4, 32))):
            content[draw.randrange(reach)] ^= 1 << draw.randrange(8)
    elif damage == "zeros" and size:
        start = draw.randrange(size)
        end = min(size, start + draw.choice((1, 64, 4096)))
        content[start:end] = bytes(end - start)
    elif damage == "truncated":
        del content[draw.choice((0, draw.randrange(size + 1), max(0, size - 1))) :]
    elif damage == "extended":
        content += draw.randbytes(draw.choice((1, 100, 5000)))
    elif damage == "swapped":
        content = bytearray((base / draw.choice(files_of(base))).read_bytes())
    path.write_bytes(content)
    if damage == "rehashed":
        rehash(root, path)
    return bytes(content) != before


def rehash(root: Path, path: Path) -> None:
    """Write the damaged file's size and hash into the manifests above it, and theirs."""
    for folder in path.parents:
        manifest = folder / "manifest.json"
        if folder == root:
            break
        if manifest.is_file() and manifest != path:
            said = orjson.loads(manifest.read_bytes())
            name = path.relative_to(folder).as_posix()
            if name in said.get("files", {}):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                said["files"][name] = {"bytes": path.stat().st_size, "sha256": digest}
                manifest.unlink()
                manifest.write_bytes(sealed(said))
                path = manifest


def table(cases: list[Case]) -> list[list[object]]:
    """Rows of room, files damaged, and how many crashed, hung, ended as a bug, were silent."""
    kinds = ("crash", "hang", "bug", "silent", "unseen")
    rows: dict[str, Counter[str]] = {}
    for case in cases:
        counts = rows.setdefault(kind_of(case.file), Counter())
        counts["files"] += 1
        counts.update({said.split(":")[0] for said in case.wrong.values()})
    return [[room, c["files"], *(c[kind] for kind in kinds)] for room, c in sorted(rows.items())]
