"""The engine over a real generation: opening, damage, reloading, ranker training, examples."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import write_atomic
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.systems import SYSTEMS
from omnisearch.ranker.published import load_rankers

DOCS = Path(__file__).parents[2] / "docs/guide/python.md"


def test_every_system_answers_over_a_real_index(trained: Workspace) -> None:
    engine = SearchEngine.open(trained)
    assert engine.generation == 1
    for system in SYSTEMS:
        found = engine.rank("boho bedroom", system, 20)
        assert found and len({item[:2] for item in found}) == len(found)
    sources = {
        name
        for hit in engine.search("boho bedroom", k=200, explain=True).hits
        for name in (hit.explain or {})["sources"]
        if not name.startswith("ads_")
    }
    assert sources == {
        *("token_pins", "token_products", "learned_pins", "learned_products"),
        *("pinsage_pins", "itemsage_products"),
    }
    engine.close()


def test_the_reference_token_backend_finds_the_same(trained: Workspace) -> None:
    fast = SearchEngine.open(trained)
    plain = SearchEngine.open(trained, token_backend="rank-bm25")
    for query in ("boho bedroom", "red dress", "zimmer"):
        one, other = fast.rank(query, "token", 10), plain.rank(query, "token", 10)
        assert [item[:2] for item in one] == [item[:2] for item in other]
    fast.close()
    plain.close()


def test_what_is_missing_is_named(tmp_path: Path, served: Workspace) -> None:
    with pytest.raises(NotReady, match="catalogue"):
        SearchEngine.open(tmp_path / "nothing")
    served.current.unlink()
    with pytest.raises(NotReady, match="index"):
        SearchEngine.open(served)


@pytest.mark.parametrize(
    "pattern", ["manifest.json", "pin/learned.npy", "product/*.hnsw", "pin/columns.safetensors"]
)
def test_a_damaged_generation_is_not_served(served: Workspace, pattern: str) -> None:
    path = next((served.generations / "1").glob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(Corrupt) as caught:
        SearchEngine.open(served)
    assert str(served.generations / "1") in str(caught.value)


def test_a_generation_serves_with_its_own_encoder_whatever_is_trained_since(
    served: Workspace,
) -> None:
    shutil.rmtree(served.exports)
    served.query_cache.unlink(missing_ok=True)
    before = SearchEngine.open(served).rank("boho bedroom", "embedding", 5)
    shutil.rmtree(served.checkpoints)
    served.query_cache.unlink()
    assert SearchEngine.open(served).rank("boho bedroom", "embedding", 5) == before


def test_vectors_of_another_checkpoint_are_not_mixed(
    served: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(served.exports)
    encoder = load_encoder(served)
    encoder.checkpoint = "0123456789abcdef"
    monkeypatch.setattr("omnisearch.encoders.checkpoint.open_encoder", lambda *_: encoder)
    with pytest.raises(Corrupt, match="which do not match"):
        SearchEngine.open(served)


def test_reload_takes_a_new_generation_while_searches_go_on(served: Workspace) -> None:
    engine = SearchEngine.open(served)
    assert engine.reload() is False
    removed = engine.rank("boho bedroom", "token", 1)[0]
    db = open_catalogue(served.catalogue)
    with db.conn:
        db.conn.execute(f"DELETE FROM {removed[0]}s WHERE id = ?", [removed[1]])
    db.conn.close()
    seen: set[tuple[int, bool]] = set()
    failures: list[BaseException] = []
    stop = threading.Event()

    def search() -> None:
        try:
            while not stop.is_set():
                response = engine.search("boho bedroom", k=10_000)
                there = removed[:2] in {(hit.entity, hit.id) for hit in response.hits}
                seen.add((response.generation, there))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert pipeline.build_index(served) == 2
    assert engine.reload() is True
    last = engine.search("boho bedroom", k=10_000)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert last.generation == engine.generation == 2
    assert removed[:2] not in {(hit.entity, hit.id) for hit in last.hits}
    assert (2, True) not in seen and (1, True) in seen
    engine.close()


def test_a_corpus_of_one_item_answers(served: Workspace) -> None:
    db = open_catalogue(served.catalogue)
    with db.conn:
        db.conn.execute("DELETE FROM pins WHERE id <> (SELECT MIN(id) FROM pins)")
        db.conn.execute("DELETE FROM products")
        db.conn.execute("DELETE FROM queries")
    db.conn.close()
    pipeline.build_index(served)
    engine = SearchEngine.open(served)
    for system in SYSTEMS:
        assert engine.search("boho bedroom", system=system).total <= 1
    response = engine.search("boho bedroom", explain=True)
    assert [hit.entity for hit in response.hits] == ["pin"]
    engine.close()


def test_a_reload_that_fails_leaves_what_was_served(served: Workspace) -> None:
    engine = SearchEngine.open(served)
    before = engine.rank("boho bedroom")
    write_atomic(served.current, b"77")
    with pytest.raises((NotReady, Corrupt)):
        engine.reload()
    assert engine.rank("boho bedroom") == before
    engine.close()


def test_rankers_trained_on_the_log_are_taken_by_reload(served: Workspace) -> None:
    engine = SearchEngine.open(served)
    assert engine.search("boho bedroom").notes
    rankers, folder = pipeline.train_rankers(served, queries=40, best=20, others=20)
    assert folder.parent == served.rankers and rankers.report["rows"] > 0
    assert engine.reload() is True
    response = engine.search("boho bedroom", explain=True)
    assert not response.notes
    assert all(hit.explain and hit.explain["l2"] is not None for hit in response.hits)
    pages = [engine.search("boho bedroom", k=9, page=page).hits for page in (1, 2, 3)]
    whole = engine.search("boho bedroom", k=27).hits
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in whole]
    assert engine.reload() is False
    # Damaged rankers are named, and training them again mends it.
    (served.rankers / "CURRENT").write_text("nonsense")
    with pytest.raises(Corrupt):
        SearchEngine.open(served)
    pipeline.train_rankers(served, queries=40, best=20, others=20)
    assert load_rankers(served) is not None
    engine.close()


def test_nothing_to_learn_from_is_said(served: Workspace) -> None:
    db = open_catalogue(served.catalogue)
    with db.conn:
        db.conn.execute("DELETE FROM engagements")
        db.conn.execute("DELETE FROM judgments")
    db.conn.close()
    with pytest.raises(NotReady, match="nothing to train"):
        pipeline.train_rankers(served)


def test_a_damaged_query_cache_does_not_fail_a_search(
    served: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    served.query_cache.write_bytes(b"not a database" * 1000)
    engine = SearchEngine.open(served, EngineConfig())
    assert engine.search("boho bedroom").hits
    assert "damaged" in caplog.text
    engine.close()
    assert QueryCache.open_default(served.root).stats()["entries"] == 1


def test_the_examples_of_the_documentation_run(served: Workspace) -> None:
    home = served.root.rename(served.root.parent / "demo").parent
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=home, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "boho bedroom" in ran.stdout


def test_every_system_is_documented() -> None:
    text = (DOCS.parents[1] / "reference/search.md").read_text("utf-8")
    for name in SYSTEMS:
        assert f"`{name}`" in text
