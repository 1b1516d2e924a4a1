"""A process that searches once opens only what its system needs, and finds the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.onnx.query_tower import MANIFEST
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.systems import SYSTEMS

ROOT = Path(__file__).parents[2]
QUERIES = ("boho bedroom", "copper sinck", "rotes ledersofa", "sofa without legs")
LIBRARIES = ("torch", "transformers", "onnxruntime", "tokenizers", "scipy", "sqlite_utils")


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_search_finds_what_an_engine_of_all_systems_finds(
    trained: Workspace, system: str
) -> None:
    whole = SearchEngine.open(trained)
    for query in QUERIES:
        once = SearchEngine.open(trained, system=system)
        one = once.search(query, system=system, explain=True)
        other = whole.search(query, system=system, explain=True)
        assert [(hit.id, hit.score, hit.explain) for hit in one.hits] == [
            (hit.id, hit.score, hit.explain) for hit in other.hits
        ]
        assert (one.related, one.notes) == (other.related, other.notes)
        once.close()
    whole.close()


def imported(workspace: Workspace, *words: str) -> list[str]:
    """Those of LIBRARIES that a search by the command line imports."""
    code = (
        "import sys\n"
        "from omnisearch.cli.main import app\n"
        f"app({['search', *words, '-w', str(workspace.root)]!r}, standalone_mode=False)\n"
        f"print([name for name in {LIBRARIES} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "results of generation" in done.stdout, done.stderr
    found: list[str] = eval(done.stderr.splitlines()[-1])
    return found


def test_a_search_imports_only_what_it_needs(trained: Workspace) -> None:
    assert imported(trained, "boho bedroom", "--system", "token") == []
    assert imported(trained, "nobody asked this before") == ["onnxruntime", "tokenizers"]
    assert imported(trained, "nobody asked this before") == []  # its embedding is cached


@pytest.mark.parametrize(
    ("pattern", "refused"),
    [
        ("pin/tantivy/*.store", ["token", "embedding"]),
        ("product/words.safetensors", ["token", "embedding"]),
        ("query/columns.safetensors", ["token", "embedding"]),
        ("pin/learned.npy", ["embedding"]),
        ("product/learned.hnsw", ["embedding"]),
        ("encoder/model.safetensors", []),
    ],
)
def test_what_is_opened_is_compared_with_its_hash(
    served: Workspace, pattern: str, refused: list[str]
) -> None:
    change(next((served.generations / "1").glob(pattern)))
    for system in ("token", "embedding"):
        if system in refused:
            with pytest.raises(Corrupt):
                SearchEngine.open(served, system=system)
        else:
            engine = SearchEngine.open(served, system=system)
            assert engine.search("boho bedroom of nobody", system=system).hits
            engine.close()
    with pytest.raises(Corrupt):
        SearchEngine.open(served)


def test_without_an_export_the_checkpoint_is_verified_and_asked(
    served: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    export = served.export(load_encoder(served).checkpoint)
    (export / MANIFEST).write_bytes(b"{}")
    engine = SearchEngine.open(served, system="embedding")
    assert engine.search("boho bedroom of nobody", system="embedding").hits
    assert "PyTorch encodes queries" in caplog.text
    change(served.generations / "1" / "encoder" / "model.safetensors")
    engine = SearchEngine.open(served, system="embedding")
    with pytest.raises(Corrupt, match=r"model\.safetensors"):
        engine.search("copper sink of nobody", system="embedding")


def test_an_unknown_system_is_named_before_anything_is_opened(served: Workspace) -> None:
    served.current.unlink()
    with pytest.raises(InputError, match="magic"):
        SearchEngine.open(served, system="magic")


def test_an_engine_of_one_system_refuses_others(trained: Workspace) -> None:
    engine = SearchEngine.open(trained, system="token")
    for ask in (engine.search, engine.rank):
        with pytest.raises(InputError, match="opened for 'token' alone"):
            ask("boho bedroom", system="full")  # type: ignore[operator]
    engine.close()
