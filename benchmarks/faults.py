"""A campaign of faults: damaged files, killed commands, and faults under a running service.

    python benchmarks/faults.py [--files 10000] [--kills 500] [--service 100] [--seed 0]
        [--processes 2] [--folder FOLDER] [--out docs/results/faults.md]

It makes a small workspace with everything in it. Then

- each file case damages one file of a copy, and runs `index verify`, `status`, `search`, a command
  that writes, and `search` again;
- each kill ends a command at one of its steps or at a random moment; then the search must give the
  old results or the new ones, and the command, run again, the new ones without leftovers;
- each fault of the service happens while clients ask; see `faults_service.py`.

Prints a table for each part, every case with something wrong, and exits with 1 if there is one. A
full or read-only disk needs root, to mount a small file system.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import typer.main

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from faults_base import make_base
from faults_files import damaged_files
from faults_files import table as file_table
from faults_kills import kills
from faults_service import FAULTS, service_faults

import omnisearch as package
from omnisearch.cli.main import app

# What other libraries import when they are first used.
PRELOADED = (
    "onnx",
    "onnxruntime.quantization",
    "py3langid",
    "rich.progress",
    "rich.table",
    "scipy.stats",
    "transformers.models.distilbert.modeling_distilbert",
    "typer._adapters",
)
DISK = "300m"
Table = tuple[str, list[str], list[list[object]]]


def main() -> int:
    """Run the campaign; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--service", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where copies are made; default: a new one")
    parser.add_argument("--out", type=Path, help="write the tables as Markdown, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        base = folder / "base"
        make_base(base)
        preload()
        tables, wrong = [], []
        for part in (_files, _kills, _service):
            table, found = part(base, folder, options)
            tables.append(table)
            wrong += found
    text = "\n".join(_markdown(*table) for table in tables if table[2])
    print(f"{text}\n{len(wrong)} cases with something wrong.")
    if options.out:
        options.out.write_text(text, "utf-8")
    return 1 if wrong else 0


def preload() -> None:
    """Do what each command would do first, so that forks need not do it again."""
    omnisearch = (found.name for found in pkgutil.walk_packages(package.__path__, "omnisearch."))
    for name in (*PRELOADED, *omnisearch):
        with suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    typer.main.get_command = cache(typer.main.get_command)  # builds all commands
    typer.main.get_command(app)
    gc.freeze()  # or every fork copies what its garbage collector looks at


def _files(base: Path, folder: Path, options: argparse.Namespace) -> tuple[Table, list[str]]:
    cases = []
    for case in damaged_files(base, options.files, options.seed, options.processes, folder):
        cases.append(case)
        if case.wrong:
            _tell(f"file case {case.seed}: {case.file} {case.damage}: {case.wrong}")
    wrong = [case.file for case in cases if case.wrong]
    columns = ["room", "files damaged", "crash", "hang", "bug", "silent", "unseen by verify"]
    return ("Damaged files", columns, file_table(cases)), wrong


def _kills(base: Path, folder: Path, options: argparse.Namespace) -> tuple[Table, list[str]]:
    counts: dict[str, Counter[str]] = {}
    wrong = []
    found = kills(base, options.kills, options.seed, options.processes, folder)
    for case in found if options.kills else ():
        name = " ".join(case.words[:2]) if case.words[0] != "import" else "import"
        counts.setdefault(name, Counter()).update(
            {"runs": 1, "killed": case.killed, "wrong": bool(case.wrong)}
        )
        if case.wrong:
            wrong.append(name)
            _tell(f"kill of {name} at {case.at}: {case.wrong}")
    rows: list[list[object]] = [
        [name, c["runs"], c["killed"], c["wrong"]] for name, c in sorted(counts.items())
    ]
    return ("Killed commands", ["command", "runs", "killed in time", "wrong"], rows), wrong


def _service(base: Path, folder: Path, options: argparse.Namespace) -> tuple[Table, list[str]]:
    rows: dict[str, list[int]] = {}
    wrong = []
    with _small_disk(folder / "disk") as disk:
        done = service_faults(base, options.service, options.seed, disk)
        for harm in done if options.service else ():
            row = rows.setdefault(harm.fault, [0, 0, 0, 0])
            for place, by in enumerate((1, harm.asked, harm.refused, bool(harm.wrong))):
                row[place] += by
            if harm.wrong:
                wrong.append(harm.fault)
                _tell(f"service, {harm.fault}: {len(harm.wrong)} wrong: {harm.wrong[:3]}")
    columns = ["fault", "times", "requests during it", "events refused", "wrong"]
    body: list[list[object]] = [[name, *row] for name, row in rows.items()]
    return (f"A service of two workers under {len(FAULTS)} faults", columns, body), wrong


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, or just the folder where mounting is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    mounted = (
        bool(shutil.which("mount")) and not subprocess.run(mount, capture_output=True).returncode
    )
    if not mounted:
        _tell("Mounting is not permitted: the disk is never full or read-only.")
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _markdown(title: str, columns: list[str], rows: list[list[object]]) -> str:
    numbers = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows
    ]
    total = [
        "all",
        *(f"{sum(column):,}" for column in zip(*(row[1:] for row in rows), strict=True)),
    ]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *numbers, total]
    return f"## {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
