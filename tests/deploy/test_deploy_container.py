"""The steps of the container file, run in a fresh environment: it builds, and serves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.containerfile import Image, build, instructions

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Containerfile"
# The service, its health check until it passes, and its end as an engine ends it.
SERVED = """
{start} & pid=$!
for turn in $(seq 240); do
    if {check} 2>/dev/null; then healthy=yes; break; fi
    sleep 0.5
done
python -c "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/v1/search?q=lamp').read())"
kill -TERM $pid; wait $pid; echo "healthy $healthy, status $?"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    if os.geteuid() or not all(map(shutil.which, ("unshare", "chroot", "ip"))):
        pytest.skip("an environment of its own needs root, unshare, chroot and ip")
    folder = tmp_path_factory.mktemp("image")
    (folder / "test" / "upper").mkdir(parents=True)
    (folder / "python").mkdir()
    if Image(folder / "test", {"PATH": "/usr/bin:/bin"}).run("true").returncode:
        pytest.skip("no overlay can be mounted here")
    return build(FILE, ROOT, folder / "built")


@pytest.mark.slow
def test_its_steps_make_a_service_that_is_healthy(image: Image, tiny_world: Path) -> None:
    assert image.user == "omnisearch"
    start = shlex.join(image.commands["ENTRYPOINT"] + image.commands["CMD"])
    check = shlex.join(image.commands["HEALTHCHECK"])
    assert image.run("id -u").stdout == "10001\n"
    assert image.run("touch /opt/omnisearch/x /usr/x || touch /data/x").returncode == 0
    assert image.run("python -m pip check").returncode == 0
    assert image.run(check, alone=True).returncode != 0
    refused = image.run(start, alone=True)
    assert refused.returncode == 3 and "omnisearch import" in refused.stderr
    shutil.copytree(tiny_world, image.folder / "upper" / "feeds")
    subprocess.run(["chmod", "-R", "a+rX", image.folder / "upper" / "feeds"], check=True)
    for command in ("import /feeds", "index build", "status"):
        done = image.run(f"omnisearch {command}", alone=True)
        assert done.returncode == 0, done.stderr
    served = image.run(SERVED.format(start=start, check=check), alone=True)
    assert "healthy yes, status 0" in served.stdout and '"hits":[{' in served.stdout, served


def test_the_file_is_read_as_an_engine_reads_it() -> None:
    text = '# one\nFROM a AS b\nRUN x \\\n # two\n && y\n\nCMD ["c"]\n'
    assert instructions(text) == [("FROM", "a AS b"), ("RUN", "x && y"), ("CMD", '["c"]')]
    names = [name for name, _ in instructions(FILE.read_text())]
    assert names.count("FROM") == 2 and names.index("USER") > max(
        place for place, name in enumerate(names) if name == "RUN"
    )


def test_what_is_ignored_is_not_what_the_wheel_is_made_of() -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    tops = {line.partition("/")[0] for line in tracked.splitlines()}
    assert not tops & set(ignored)
