"""A part of the campaign of faults; `benchmarks/faults.py` runs all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "counts",
    [
        ("--files", "180", "--kills", "0", "--service", "0"),
        ("--files", "0", "--kills", "21", "--service", "0"),
        ("--files", "0", "--kills", "0", "--service", "20"),
    ],
    ids=["damaged files", "kills", "service"],
)
def test_a_part_of_the_campaign_finds_nothing_wrong(
    counts: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, *counts, "--seed", "100", "--folder", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
