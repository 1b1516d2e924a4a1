"""What an experiment costs a service: searches a second, latency and memory.

    python benchmarks/experiment_load.py [--workspace demo] [--seconds 10] [--rounds 3]

One worker answers searches that name a user, as many as it can: while there is no experiment, while
one records, while one of two variants runs whose settings differ, and while one runs whose second
variant is another generation (a copy of the live one). The rounds take turns, so that the machine's
moods meet all of them. Nothing is written to the workspace.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from pathlib import Path

from load import Measured, asked, closed_loop, get, run
from service_process import OmniSearch, untouched

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import Experiment, Variant

CONNECTIONS = 8
USERS = 5_000


def copy_generation(workspace: Workspace) -> int:
    """The number of a new copy of the live generation; the others stay links."""
    live = int(workspace.current.read_text())
    generations = workspace.generations.resolve()
    workspace.generations.unlink()  # a link
    workspace.generations.mkdir()
    for path in generations.iterdir():
        (workspace.generations / path.name).symlink_to(path)
    number = max(int(path.name) for path in generations.iterdir() if path.name.isdecimal()) + 1
    shutil.copytree(generations / str(live), workspace.generations / str(number))
    return number


def requests_of(workspace: Path) -> list[bytes]:
    db = open_catalogue(Workspace.open(workspace).catalogue)
    queries = head_queries(db, 200)
    db.conn.close()
    return [
        get(asked("/v1/search", queries[number % len(queries)], user=f"user-{number}"))
        for number in range(USERS)
    ]


def measured(root: Path, requests: list[bytes], seconds: float) -> tuple[Measured, float]:
    """The load, and the resident memory of the worker afterwards, in MB."""
    with OmniSearch(root, 1) as service:
        service.warm(requests[:200], 1)
        found = run(closed_loop(service.port, requests, CONNECTIONS, seconds))
        memory = Path(f"/proc/{service.pids[0]}/smaps_rollup").read_text()
    private = [line.split()[1] for line in memory.split("\n") if line.startswith("Pss:")]
    return found, int(private[0]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    requests = requests_of(options.workspace)
    wide = Variant("wide", engine={"related": 12})
    kinds = ("no experiment", "one records", "two settings", "two generations")
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    shown: dict[str, tuple[Measured, float]] = {}
    for _ in range(options.rounds):
        for kind in kinds:
            with untouched(options.workspace) as folder:
                workspace = Workspace(folder)
                other = wide
                if kind == "two generations":
                    other = Variant("other", generation=copy_generation(workspace))
                if kind != "no experiment":
                    store.create(workspace, Experiment("trial", (Variant("control"), other)))
                if kind.startswith("two"):
                    store.start(workspace, "trial")
                shown[kind] = measured(folder, requests, options.seconds)
                rates[kind].append(shown[kind][0].rate)
    alone = statistics.median(rates[kinds[0]])
    print(f"{CONNECTIONS} connections, {USERS:,} users, one worker, {os.cpu_count()} cores")
    print(f"{'':20}{'per second':>12}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'MB':>8}")
    for kind in kinds:
        found, memory = shown[kind]
        rate = statistics.median(rates[kind])
        times = f"{found.quantile(50):9.1f}{found.quantile(99):9.1f}"
        print(f"{kind:20}{rate:12.0f}{rate / alone:8.2f}{times}{memory:8.0f}")


if __name__ == "__main__":
    main()
