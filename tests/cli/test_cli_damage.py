"""Damaged files of a workspace: a command works or names the damage, and never calls it a bug."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch.cli.main import main
from omnisearch.data.catalogue import schema
from omnisearch.data.catalogue.feedback import add_events, add_judgments, open_feedback
from omnisearch.data.workspace import Workspace

CASES = 25  # for each kind of file
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def whole(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A trained workspace with feedback, in files that are restored after each damage."""
    workspace = Workspace(tmp_path_factory.mktemp("damage") / "workspace")
    shutil.copytree(trained.root, workspace.root)
    workspace.settings.write_text("[index]\nretention = 2\n[engine]\ncache_days = 3\n")
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        row = b'{"time": 1700000000, "query": "sofa", "entity": "pin", "item_id": "x"}'
        add_events(log, [(f"e{n}", row) for n in range(50)], 1_700_000_000)
        judged = b'{"query": "sofa", "entity": "pin", "item_id": "x", "grade": null}'
        add_judgments(log, [('["sofa", "pin", "x", ""]', judged)], 1_700_000_000)
    return workspace


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Run:
    def call(*words: object) -> tuple[int, str]:
        schema.opened.clear()
        monkeypatch.setattr(sys, "argv", ["omnisearch", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def damaged(content: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """The content with flipped bits, cut, extended, overwritten in part, or swapped."""
    kind = draw.choice(["bits", "bits", "bits", "cut", "longer", "zeros", "swap", "empty"])
    changed = bytearray(content)
    if kind == "bits":
        for _ in range(draw.choice([1, 1, 10, 200])):
            # The beginning of a file tells how the rest is read.
            end = draw.choice([100, 5000, len(content)])
            changed[draw.randrange(min(end, len(content)))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del changed[draw.randrange(len(content)) :]
    elif kind == "longer":
        changed += draw.randbytes(draw.randrange(1, 5000))
    elif kind == "zeros":
        start = draw.randrange(len(content))
        changed[start : start + 4096] = bytes(len(changed[start : start + 4096]))
    else:
        changed = bytearray(b"" if kind == "empty" else draw.choice(others))
    return bytes(changed)


def kept(path: Path) -> Iterator[bytes]:
    """The content of a file, put back at the end, without SQLite's log."""
    content = path.read_bytes()
    yield content
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    path.write_bytes(content)


FILES: dict[str, Callable[[Workspace], Path]] = {
    "catalogue": lambda space: space.catalogue,
    "feedback": lambda space: space.feedback,
    "settings": lambda space: space.settings,
    "query cache": lambda space: space.query_cache,
    "live generation": lambda space: space.current,
    "best checkpoint": lambda space: space.best_checkpoint("default"),
    "last checkpoint": lambda space: space.last_checkpoint("default"),
}
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "catalogue": (
        *(("status",), ("status",), ("import", "pins"), ("enrich", "boards")),
        *(
            ("enrich", "queries"),
            ("index", "update"),
            ("train", "--preset", "tiny"),
            ("search", "a"),
        ),
    ),
    "feedback": (("import", "feedback"), ("status",)),
    "settings": (("search", "sofa"), ("index", "status"), ("index", "update"), ("rank", "train")),
    "query cache": (("search", "sofa"), ("cache", "stats"), ("status",)),
    "live generation": (("search", "sofa"), ("status",), ("index", "status"), ("index", "verify")),
    "best checkpoint": (("index", "update"), ("status",)),
    "last checkpoint": (("train", "--preset", "tiny", "--resume"), ("status",)),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_named(kind: str, whole: Workspace, run: Run, tmp_path: Path) -> None:
    draw = random.Random(kind)
    pins = tmp_path / "pins.jsonl"
    pins.write_text('{"id": "new", "title": "sofa"}\n')
    run("search", "sofa", "-w", whole.root)
    others = [place(whole).read_bytes() for place in FILES.values()] + [b"", b"\xff\xfe\x80"]
    path = FILES[kind](whole)
    for case in range(CASES):
        for content in kept(path):
            path.write_bytes(damaged(content, draw, others))
            command = draw.choice(COMMANDS[kind])
            words = [pins if word == "pins" else word for word in command]
            if command[0] in ("train", "index") and kind == "catalogue" and case % 5:
                words = ["status"]  # the others take seconds
            code, said = run(*words, "-w", whole.root)
            assert code in range(5), (case, words, said)
            assert "bug in OmniSearch" not in said and "Traceback" not in said, (case, words, said)
            assert "Aborted" not in said, (case, words, said)
