"""How far long work is, in a terminal and where the output is redirected."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from rich.console import Console

from omnisearch.cli import progress as shown


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shown, "time", clock)
    monkeypatch.setattr(shown, "cores", lambda number=2: f"{number} cores")
    return clock


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.strip() for line in capsys.readouterr().err.splitlines() if line.strip()]


def test_redirected_a_plain_line_comes_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("embedding") as advance:
        for second in range(45):
            clock.now = second
            advance(second, 3600)
    assert told(capsys) == [
        "embedding: 0%, about 60 minutes left on 2 cores",
        "embedding: 0%, about 60 minutes left on 2 cores",
        "embedding: 0%, about 60 minutes left on 2 cores",
        "embedding: 1%, about 59 minutes left on 2 cores",
        "embedding: 1%, done in 44 s",
    ]


def test_short_work_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown.progress("import pins.csv") as advance:
        advance(0, 500)
        advance(500, 500)
    assert told(capsys) == ["import pins.csv: 100%, done in 0 s"]


def test_work_that_counts_nothing_is_not_told(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("import feedback") as advance:
        advance(0, 0)
    assert told(capsys) == []


def test_bytes_and_items_and_steps_are_all_told_as_percents(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.progress("files restored") as advance:
        advance(1234, 0)  # of nobody knows how many
    terminal = Console(stderr=True, force_terminal=True, no_color=True, width=80)
    monkeypatch.setattr(shown, "err", terminal)
    with shown.progress("import") as advance:
        advance(199, 10_000)
    lines = told(capsys)
    assert lines[0] == "files restored: 1,234, done in 0 s"
    assert any(" 1%" in line for line in lines) and not any("10,000" in line for line in lines)


def test_counting_anew_has_the_next_title(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown.progress("candidates", "models") as advance:
        for done in range(1, 41):
            clock.now = done
            advance(done, 40)
        for done in range(3):
            clock.now = 50 + 10 * done
            advance(done, 2)
    assert (
        told(capsys)[-4:]
        == [
            "candidates: 100%",
            "models: 0%",
            "models: 50%",
            "models: 100%",
            "models: 100%, done in 70 s",
        ][-4:]
    )


def test_in_a_terminal_long_work_says_once_how_long_it_takes(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Console(stderr=True, force_terminal=True, no_color=True, width=80)
    monkeypatch.setattr(shown, "err", terminal)
    with shown.progress("embedding") as advance:
        clock.now = 300.0  # until everything is open
        advance(10, 10_000)  # too early to tell
        clock.now = 306.0
        advance(100, 10_000)
        advance(200, 10_000)
        clock.now = 307.0
        advance(0, 100)  # another step of the same work, done soon
        clock.now = 313.0
        advance(50, 100)
        clock.now = 314.0
        advance(1, 1_000_000)
        clock.now = 320.0
        advance(2, 1_000_000)  # the first parts are slow
        clock.now = 321.0
        advance(10, 20)
    lines = [line for line in told(capsys) if "about" in line]
    assert len(lines) == 1
    assert "embedding: 1%, about 11 minutes left on 2 cores." in lines[0]


@dataclass
class Step:
    step: int
    steps: int = 1000
    seconds: float = 1.2
    loss: float = 4.5
    pairs_per_second: float = 800.0


def test_a_training_says_how_long_it_takes(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown.training_bar() as (advance, on_step):
        advance(0, 10)
        for number in range(1, 30):
            clock.now += 1.2
            on_step(Step(number))
    lines = told(capsys)
    assert lines[0].startswith("1,000 steps take about 20 minutes on ")
    assert lines[1] == (
        "training, step 9 of 1,000: 0%, loss 4.500  800 pairs/s, about 20 minutes left on 2 cores"
    )
    assert lines[-1] == "training, step 29 of 1,000: 2%, done in 35 s"
