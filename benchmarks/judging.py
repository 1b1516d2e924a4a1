"""A complete judging (§5.1) on the sample world, with three simulated judges filling in sheets.

    python benchmarks/judging.py --workspace demo [--world demo/world] [--systems token,full]

Draws a judging in a workspace of the sample world (made by `omnisearch demo`), lets each judge fill
in an exported sheet from the true relevance known to the simulation, imports the sheets and prints
the report, followed by the findings of error-free judges for comparison. The judging is named after
its systems and its seed.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.scale import VALUES, WANTED
from omnisearch.evaluation.judging.verdicts import Verdict, query_values
from omnisearch.evaluation.reproduce.studies import five_grades
from omnisearch.world.judges import JUDGES, grade_by
from omnisearch.world.truth import Truth

MAIN = "from omnisearch.cli.main import main; main()"


def fill_in(sheet: Path, grades: dict[str, int]) -> None:
    """Put a judge's grades into the last column of an exported sheet."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([head, *([*row[:-1], str(grades[row[0]])] for row in rows)])


def omnisearch(*words: object) -> str:
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--world", type=Path, help="by default `world` in the workspace")
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--systems", default="token,full")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    name = f"{options.systems.replace(',', '-')}-{options.seed}"
    where = ("--workspace", options.workspace)
    started = time.perf_counter()
    drawn = ("--systems", options.systems, "--number", options.number, "--seed", options.seed)
    print(omnisearch("judge", "draw", name, *drawn, *where))
    judging = Judging.open(workspace, name)
    pairs = list(judging.pairs.values())
    meta = orjson.loads(((options.world or options.workspace / "world") / "meta.json").read_bytes())
    truth = Truth.of(meta["pins"], meta["seed"])
    grade, foreign = truth.grades([(pair.query, pair.item_id) for pair in pairs])
    with tempfile.TemporaryDirectory() as folder:
        for number, (judge, habits) in enumerate(JUDGES.items()):
            random = np.random.default_rng([options.seed, number])
            given = five_grades(grade_by(habits, grade, foreign, random), foreign)
            sheet = Path(folder) / f"{judge}.csv"
            omnisearch("judge", "export", name, "--judge", judge, "-o", sheet, *where)
            fill_in(sheet, {pair.id: int(g) for pair, g in zip(pairs, given, strict=True)})
            print(omnisearch("judge", "import", name, sheet, *where).strip())
    print("\n" + omnisearch("judge", "report", name, *where))
    true = five_grades(grade, foreign).tolist()
    sure = {
        pair.id: Verdict(tuple(WANTED * (value == given) for value in VALUES), cannot_tell=0)
        for pair, given in zip(pairs, true, strict=True)
    }
    means = np.mean([of["relevant"] for of in query_values(judging, sure).values()], axis=0)
    told = ", ".join(f"{s} {m:.3f}" for s, m in zip(judging.design.systems, means, strict=True))
    print(f"Judges who never err would have found relevant, over all queries: {told}.")
    print(f"All of it in {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
