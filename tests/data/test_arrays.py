"""Arrays on a disk that is full: an error that can be caught, where the process died of SIGBUS."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np

from omnisearch.data.workspace.arrays import new_array


def test_an_array_has_its_room_reserved(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", np.float32, (5000, 64))
    array[:] = 1
    array.flush()
    found = (tmp_path / "a.npy").stat()
    assert found.st_blocks * 512 >= found.st_size
    assert (np.load(tmp_path / "a.npy") == 1).all()


def test_an_array_without_rows(tmp_path: Path) -> None:
    new_array(tmp_path / "a.npy", np.float32, (0, 64)).flush()
    assert np.load(tmp_path / "a.npy").shape == (0, 64)


def test_no_room_for_an_array_is_an_error(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk: the reservation fails like there."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from omnisearch.data.workspace.arrays import new_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n"
        "    new_array(Path(sys.argv[1]), 'f4', (10_000, 256))\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() in (str(errno.EFBIG), str(errno.ENOSPC))
