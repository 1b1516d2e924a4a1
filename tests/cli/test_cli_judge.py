"""`omnisearch judge` as users run it: in terminals that are killed, through pipes and sheets."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import MAIN, omnisearch

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.judging.draw import pair_id
from omnisearch.evaluation.judging.folder import Design, Pair, Shown, write_judging
from omnisearch.evaluation.judging.queries import DrawnQuery

SECONDS = 60


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A catalogue of six pins, and a judging of two queries with three of them each."""
    space = Workspace.create(tmp_path / "ws")
    db = open_catalogue(space.catalogue, create=True)
    queries = [DrawnQuery("copper sink", "head", 9, 9.0), DrawnQuery("sofa", "tail", 1, 4.0)]
    pairs, shown = [], []
    for number, entry in enumerate(queries):
        pins = [f"pin{3 * number + i}" for i in range(3)]
        db["pins"].insert_all({"id": pin, "title": f"Title of {pin}"} for pin in pins)
        texts = {"title": "A title", "description": "", "brand": "", "currency": ""}
        for pin in pins:
            names = {"id": pair_id(entry.query, ("pin", pin)), "entity": "pin", "item_id": pin}
            about = {"query": entry.query, "text": entry.query, "image": "", "link": ""}
            pairs.append(Pair(**names, **about, **texts, price=None))
        ids = [pair.id for pair in pairs[-3:]]
        shown += [Shown(entry.query, "token", ids[:2]), Shown(entry.query, "full", ids[1:])]
    db.conn.close()
    design = Design(["token", "full"], 2, 0, generation=1, checkpoint="c", drawn_at=1, notes=[])
    write_judging(space.judging / "spring", design, queries, pairs, shown)
    return space.root


def envelope(*words: object) -> dict:
    found = json.loads(omnisearch("judge", *words, "--json").stdout)
    assert found["schema_version"] == 1
    return found["data"]


def pairs_of(workspace: Path) -> list[dict]:
    path = workspace / "judging/spring/pairs.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def answers_of(workspace: Path, judge: str) -> list[tuple[str, int | None]]:
    path = workspace / f"judging/spring/answers/{judge}.jsonl"
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [(entry["pair"], entry["grade"]) for entry in entries]


class Terminal:
    """`omnisearch judge ask` in a terminal of its own."""

    def __init__(self, workspace: Path) -> None:
        self._main, other = pty.openpty()
        words = ("judge", "ask", "spring", "--judge", "anna", "-w", str(workspace))
        command = [sys.executable, "-c", MAIN, *words]
        self.process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        os.close(other)
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read until the screen has shown this after what was waited for last."""
        until = time.monotonic() + SECONDS
        while text not in self.seen:
            ready = select.select([self._main], [], [], max(0, until - time.monotonic()))[0]
            assert ready, self.seen
            self.seen += os.read(self._main, 65_536).decode(errors="replace")
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def press(self, key: str) -> None:
        """Type a key once one is waited for; keys typed ahead of that are dropped."""
        until = time.monotonic() + SECONDS
        while termios.tcgetattr(self._main)[3] & termios.ICANON:
            assert time.monotonic() < until, self.seen
            time.sleep(0.01)
        os.write(self._main, key.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._main)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def test_a_killed_session_goes_on_where_it_was(workspace: Path, terminals: list[Terminal]) -> None:
    total = len(pairs_of(workspace))
    first = Terminal(workspace)
    terminals.append(first)
    for number, key in enumerate("54?"):
        first.wait_for(f"{number} of {total} pairs done")
        first.press(key)
    first.wait_for(f"3 of {total} pairs done")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    order = [pair["id"] for pair in pairs_of(workspace)]
    assert answers_of(workspace, "anna") == list(zip(order, (5, 4, None), strict=False))
    second = Terminal(workspace)
    terminals.append(second)
    second.wait_for(f"3 of {total} pairs done")
    second.press("2")
    second.wait_for(f"4 of {total} pairs done")
    second.press("q")
    second.wait_for("pairs are left for anna")
    assert second.process.wait(SECONDS) == 0
    assert answers_of(workspace, "anna")[3] == (order[3], 2)


def test_two_windows_of_one_judge_and_ctrl_c(workspace: Path, terminals: list[Terminal]) -> None:
    first = Terminal(workspace)
    terminals.append(first)
    first.wait_for("0 of")
    done = omnisearch("judge", "ask", "spring", "--judge", "anna", "-w", workspace, check=False)
    assert done.returncode == 2 and "another window" in done.stderr
    first.press("3")
    first.wait_for("1 of")
    first.press("\x03")
    first.process.wait(SECONDS)
    assert len(answers_of(workspace, "anna")) == 1


def test_answers_through_a_pipe_and_nothing_typed_ahead(workspace: Path) -> None:
    total = len(pairs_of(workspace))
    words = ("judge", "ask", "spring", "--judge", "ben", "-w", str(workspace))
    command = [sys.executable, "-c", MAIN, *words]
    typed = "\n".join("5" * (total - 1)) + "\n\nu\n1\n1\n"
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0 and "Nothing is left to judge for ben" in done.stdout
    assert "Press 1 to 5" in done.stdout and "Taken back" in done.stdout
    assert not re.search(r"\b(token|full|rank)\b", done.stdout.casefold())


def fill_in(path: Path, grade: str) -> None:
    rows = list(csv.reader(path.open(encoding="utf-8-sig", newline="")))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([rows[0], *([*row[:-1], grade] for row in rows[1:])])


def test_from_sheets_to_the_catalogue(workspace: Path, tmp_path: Path) -> None:
    total = len(pairs_of(workspace))
    where = ("-w", workspace)
    told = omnisearch("judge", "apply", "spring", *where).stdout
    assert "A pair is finished once 3 people have judged it." in told
    for judge, grade in (("anna", "5"), ("ben", "4"), ("cleo", "2")):
        sheet = tmp_path / f"{judge}.csv"
        assert envelope("export", "spring", "--judge", judge, "-o", sheet, *where) == {
            "file": str(sheet),
            "pairs": total,
        }
        fill_in(sheet, grade)
        assert envelope("import", "spring", sheet, *where)["taken"] == total
    found = envelope("report", "spring", *where)
    assert (found["lacking"], found["measured"]) == (0, 2)
    assert found["metrics"]["relevant"][-1]["systems"]["token"]["mean"] == 1.0
    assert found["grades"]["kappa"] < 0 and found["relevant"]["raw"] == pytest.approx(1 / 3)
    text = omnisearch("judge", "report", "spring", *where).stdout
    assert "# Human relevance: Token and Full stack" in text
    assert envelope("apply", "spring", *where)["added"] == 3 * total
    assert envelope("apply", "spring", *where)["added"] == 0
    empty = envelope("export", "spring", "--judge", "dora", "-o", tmp_path / "d.csv", *where)
    assert empty["pairs"] == 0
    words = ("judge", "export", "spring", "--judge", "dora", "-o", tmp_path / "d.csv", *where)
    assert "Nothing is left to judge for dora" in omnisearch(*words).stdout


def test_refused_rows_are_shown_with_line_and_field(workspace: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "anna.csv"
    omnisearch("judge", "export", "spring", "--judge", "anna", "-o", sheet, "-w", workspace)
    done = omnisearch("judge", "import", "spring", sheet, "-w", workspace)
    assert "No row has a grade" in done.stdout
    fill_in(sheet, "9")
    done = omnisearch("judge", "import", "spring", sheet, "-w", workspace)
    shown = " ".join(done.stdout.split())
    assert "anna.csv:2: grade is not one of 1 to 5 or ? (9)" in shown


def test_captions_from_the_draw_to_the_report(workspace: Path, tmp_path: Path) -> None:
    where = ("-w", workspace)
    done = omnisearch("judge", "captions", "autumn", *where, check=False)
    assert done.returncode == 3 and "No item has a picture and a caption" in done.stderr
    db = open_catalogue(Workspace(workspace).catalogue)
    db.conn.execute("UPDATE pins SET image = id || '.jpg', caption = 'a sink'")
    db.conn.commit()
    db.conn.close()
    drawn = envelope("captions", "autumn", "--number", 4, *where)
    assert (drawn["pictures"], drawn["categories"]) == (4, {"other": 4})
    told = omnisearch("judge", "captions", "winter", *where).stdout
    assert "6 pictures of 1 category to judge, 3 judgments each" in told
    assert "these were imported" in told and "omnisearch judge ask winter" in told
    for judge, grade in (("anna", "4"), ("ben", "4"), ("cleo", "1")):
        sheet = tmp_path / f"{judge}.csv"
        assert envelope("export", "autumn", "--judge", judge, "-o", sheet, *where)["pairs"] == 4
        fill_in(sheet, grade)
        assert envelope("import", "autumn", sheet, *where)["taken"] == 4
    found = envelope("report", "autumn", *where)
    assert (found["measured"], found["lacking"], found["judgments"]) == (4, 0, 12)
    good, *_, poor = found["grades"]
    assert (good["pictures"]["mean"], poor["pictures"]["mean"]) == (1.0, 0.0)
    assert good["judgments"]["mean"] == pytest.approx(2 / 3) and good["paper"] == 0.8784
    text = omnisearch("judge", "report", "autumn", *where).stdout
    assert "# Machine captions: relevance and quality" in text and "0.8784" in text
    refused = omnisearch("judge", "apply", "autumn", *where, check=False)
    assert refused.returncode == 2 and "not for the catalogue" in refused.stderr


@pytest.mark.slow  # trains a small model
def test_drawing_from_the_log_and_from_a_file(trained: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    shutil.copytree(trained.root, folder)
    done = omnisearch("judge", "draw", "spring", "--number", 6, "-k", 3, "-w", folder)
    assert "6 queries (2 head, 2 torso, 2 tail)" in done.stdout
    assert 6 * 3 <= len(pairs_of(folder)) <= 6 * 6
    assert "Synthetic" in omnisearch("judge", "report", "spring", "-w", folder).stdout
    file = tmp_path / "queries.txt"
    file.write_text("copper sink\nnobody ever asked this\n")
    words = ("draw", "mine", "--queries", file, "--systems", "token,rrf", "-w", folder)
    assert envelope(*words)["queries"] == 2


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("report", "autumn"), 3, "spring"),
        (("draw", "spring"), 2, "already"),
        (("draw", "../out"), 2, "cannot be the name"),
        (("draw", "x", "--systems", "token"), 2, "two different"),
        (("draw", "x", "--systems", "token,magic"), 2, "--systems: There is no 'magic'"),
        (("draw", "x", "--systems", "token, full"), 3, "The log has no queries to draw from"),
        (("draw", "x", "--queries", "no-such-file"), 2, "no-such-file"),
        (("draw", "x", "--seed", "-1"), 2, "--seed"),
        (("captions", "spring"), 2, "already"),
        (("captions", "../out"), 2, "cannot be the name"),
        (("captions", "x", "--number", "0"), 2, "--number"),
        (("captions", "x", "--seed", "-1"), 2, "--seed"),
        (("ask", "spring", "--judge", "a/b"), 2, "cannot be the name of a judge"),
        (("export", "spring", "--judge", "a/b", "-o", "x.csv"), 2, "cannot be the name of a judge"),
        (("import", "spring", "no-such-file", "--judge", "anna"), 2, "no-such-file"),
        (("export", "spring", "--judge", "anna", "-o", "/proc/x.csv"), 2, "/proc/x.csv"),
    ],
)
def test_wrong_input_gets_a_paragraph_not_a_traceback(
    workspace: Path, words: tuple, status: int, says: str
) -> None:
    done = omnisearch("judge", *words, "-w", workspace, check=False)
    assert done.returncode == status, done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
