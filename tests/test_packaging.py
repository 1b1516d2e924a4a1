"""The wheel: one package, whole, and usable where nothing of the checkout is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {path.name for path in (ROOT / "src" / "omnisearch").iterdir() if path.is_symlink()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "-w", folder, ROOT], check=True, capture_output=True)
    (built,) = folder.glob("omnisearchsage-*.whl")
    return built


def test_it_holds_every_file_of_every_room_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} == {"omnisearch"}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *sorted(ROOMS)], cwd=ROOT, capture_output=True, text=True
    )
    if tracked.returncode or not tracked.stdout:
        pytest.skip("this is not a git checkout")
    rooms = {f"omnisearch/{name}" for name in tracked.stdout.split("\0") if name}
    assert rooms | {"omnisearch/__init__.py", "omnisearch/py.typed"} == held


def test_an_empty_environment_gets_one_package_that_works(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "environment"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", target]
    subprocess.run([*install, wheel], check=True, capture_output=True)
    kept = {path.name for path in target.iterdir() if not path.name.endswith(".dist-info")}
    assert kept == {"omnisearch", "bin"}

    def run(program: str) -> str:
        # -I: neither PYTHONPATH nor the current folder; the dependencies are this environment's.
        head = f"import sys; sys.path[:0] = [{str(target)!r}]; "
        done = subprocess.run(
            [sys.executable, "-I", "-c", head + program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(target) in run("import omnisearch.engine; print(omnisearch.engine.__file__)")
    command = "sys.argv[1:] = {}; from omnisearch.cli.main import main; main()"
    assert "import" in run(command.format("['--help']"))
    run(command.format("['world', 'sample', '--preset', 'tiny']"))  # reads the lexicon
    assert (tmp_path / "sample" / "meta.json").exists()
    run(
        "from omnisearch.service.routes.pages import PAGES; assert (PAGES / 'index.html').exists();"
        "from omnisearch.evaluation.reproduce.spec import load_table; load_table('table2');"
        "from omnisearch.ranker.starter import starter; starter();"
        "from omnisearch import SearchEngine, Workspace, pipeline; print(SearchEngine, Workspace)"
    )


def test_the_checkout_finds_each_room_by_a_link(tmp_path: Path) -> None:
    config = (ROOT / "pyproject.toml").read_text("utf-8")
    for room in ROOMS:
        assert (ROOT / "src" / "omnisearch" / room).resolve() == ROOT / room
        assert f'"{room}" = "omnisearch/{room}"' in config and f'    "{room}",\n' in config
