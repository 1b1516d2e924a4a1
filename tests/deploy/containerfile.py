"""Executes a container file without an engine: each stage is an overlay over this machine's files.

What a stage writes goes to a folder of its own. The instructions run in a chroot, in namespaces of
their own, with nothing of this environment but pip's settings; `python` is the interpreter that the
tests run with, copied without the packages that it has and with pip, under /usr/local/python.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

LIBRARIES = "/usr/local/python/lib"
_PASSED = re.compile(r"PIP_.*|.*_proxy", re.IGNORECASE)
_MOUNT = """
set -e
mkdir -p {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
mkdir -p {folder}/root/usr/local/python
mount --bind {folder}/../python {folder}/root/usr/local/python
mount --rbind /dev {folder}/root/dev
mount --rbind /proc {folder}/root/proc
mount -t tmpfs tmpfs {folder}/root/root
mount -t tmpfs -o mode=1777 tmpfs {folder}/root/tmp
if [ {alone} = yes ]; then ip link set lo up; fi
exec chroot --userspec={user} {folder}/root /usr/bin/env -i {environment} /bin/sh -c {script}
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """(name, rest) of each instruction; lines that end in a backslash go on in the next."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


@dataclass
class Image:
    """One stage: its files, and what its instructions have set."""

    folder: Path
    environment: dict[str, str]
    user: str = "root"
    at: str = "/"
    commands: dict[str, list[str]] = field(default_factory=dict)

    def run(
        self, script: str, *, alone: bool = False, seconds: float = 1500
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it, as its user; `alone`: with no network but a loopback."""
        passed = {name: word for name, word in os.environ.items() if _PASSED.fullmatch(name)}
        environment = shlex.join(f"{k}={v}" for k, v in {**passed, **self.environment}.items())
        mounted = _MOUNT.format(
            folder=shlex.quote(str(self.folder)),
            user=self.user,
            alone="yes" if alone else "no",
            environment=environment,
            script=shlex.quote(f"cd {shlex.quote(self.at)} || exit; {script}"),
        )
        spaces = ["--mount", "--propagation", "private", *(["--net"] if alone else [])]
        return subprocess.run(
            ["unshare", *spaces, "bash", "-c", mounted],
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def path(self, name: str) -> Path:
        """Where a file lies that this stage has written."""
        return self.folder / "upper" / os.path.normpath(Path(self.at) / name).lstrip("/")


def build(containerfile: Path, context: Path, folder: Path) -> Image:
    """The last stage, after all instructions; raises AssertionError if one fails."""
    bare_python(folder / "python")
    stages: dict[str, Image] = {}
    image = Image(folder, {})
    for number, (name, rest) in enumerate(instructions(containerfile.read_text("utf-8"))):
        if name == "FROM":
            path = (
                "/usr/local/python/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            )
            image = Image(
                folder / str(number),
                {"PATH": path, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": LIBRARIES},
            )
            (image.folder / "upper").mkdir(parents=True)
            stages[rest.partition(" AS ")[2]] = image
        elif name == "WORKDIR":
            image.at = rest
            image.path(".").mkdir(parents=True, exist_ok=True)
        elif name == "RUN":
            done = image.run(rest)
            assert done.returncode == 0, f"{rest}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        elif name == "COPY":
            _copy(rest.split(), stages, image, context)
        elif name == "ENV":
            for word in shlex.split(rest):
                key, _, value = word.partition("=")
                image.environment[key] = value.replace("$PATH", image.environment["PATH"])
        elif name == "USER":
            image.user = rest
        elif name in ("ENTRYPOINT", "CMD"):
            image.commands[name] = json.loads(rest)
        elif name == "HEALTHCHECK":
            image.commands[name] = json.loads(rest.partition(" CMD ")[2])
        else:
            assert name in ("VOLUME", "EXPOSE", "STOPSIGNAL"), name
    return image


def bare_python(folder: Path) -> None:
    """Copy the interpreter, with pip and no other package."""
    left_out = shutil.ignore_patterns("site-packages", "test", "__pycache__", "share")
    shutil.copytree(sys.base_prefix, folder, symlinks=True, ignore=left_out)
    words = [folder / "bin" / "python3", "-I", "-m", "ensurepip"]
    subprocess.run(words, check=True, capture_output=True)


def _copy(words: list[str], stages: dict[str, Image], image: Image, context: Path) -> None:
    origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    source, to = words
    if origin is not None:
        shutil.copytree(stages[origin].path(source), image.path(to), symlinks=True)
        return
    assert source == ".", source
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=context, capture_output=True, text=True, check=True)
    for name in filter(None, files.stdout.split("\0")):
        if (context / name).exists():
            path = image.path(to) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(context / name, path, follow_symlinks=False)
