"""How long a command of the command line takes, as a ratio to `omnisearch --help`.

    python benchmarks/command_line.py --workspace demo

The commands take turns, after one run that is not counted: it compiles the modules and unpacks the
language model, as the first use after an installation does. A search asks for a query that is not
in the cache (so the encoder runs), and another for one that is. Each line has the median seconds
and seconds of processor time, and the median of the ratios to the `--help` of the same turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = (sys.executable, "-c", "from omnisearch.cli.main import main; main()")


def timed(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL, env=environment)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    of = ["--workspace", str(options.workspace)]
    commands = {
        "--help": lambda turn: ["--help"],
        "search --system token": lambda turn: ["search", "boho bedroom", "--system", "token", *of],
        "search, cached": lambda turn: ["search", "boho bedroom", *of],
        "search, new query": lambda turn: ["search", f"boho bedroom {os.getpid()}{turn}", *of],
    }
    with tempfile.TemporaryDirectory() as compiled:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        environment["PYTHONPYCACHEPREFIX"] = compiled
        turns = [
            {name: timed(words(turn), environment) for name, words in commands.items()}
            for turn in range(options.runs + 1)
        ][1:]
    print(f"{'command':24}{'seconds':>9}{'ratio':>8}{'cpu s':>9}{'ratio':>8}")
    for name in commands:
        cells = ""
        for of_what in (0, 1):
            own = [turn[name][of_what] for turn in turns]
            ratios = [turn[name][of_what] / turn["--help"][of_what] for turn in turns]
            cells += f"{statistics.median(own):9.2f}{statistics.median(ratios):8.1f}"
        print(f"{name:24}{cells}")


if __name__ == "__main__":
    main()
