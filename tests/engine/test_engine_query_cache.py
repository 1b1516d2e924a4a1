"""The query-embedding cache: hits, time to live, bounds, damage, threads, processes, kills."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.engine.query_embeddings.cache import DAY, QueryCache

ROOT = Path(__file__).parents[2]


class CountingEncoder:
    """Unit vectors drawn from the text; remembers what it was asked."""

    def __init__(self, checkpoint: str = "c0ffee", dim: int = 8) -> None:
        self.checkpoint, self.dim = checkpoint, dim
        self.asked: list[str] = []

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        self.asked.extend(texts)
        rows = []
        for text in texts:
            seed = int.from_bytes((self.checkpoint + text).encode()[:64], "little") % 2**63
            rows.append(np.random.default_rng(seed).normal(size=self.dim))
        found = np.array(rows, np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "query_cache.db"


def test_the_second_look_up_is_a_hit_even_after_reopening(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    first, was_cached = cache.vector(encoder, "Boho  Bedroom")
    again, is_cached = cache.vector(encoder, "boho bedroom")
    assert (was_cached, is_cached) == (False, True)
    cache.close()
    later, from_disk = QueryCache(path).vector(encoder, "boho bedroom")
    assert from_disk
    assert encoder.asked == ["boho bedroom"]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, later)


def test_another_checkpoint_has_entries_of_its_own(path: Path) -> None:
    cache = QueryCache(path)
    one, _ = cache.vector(CountingEncoder("a"), "sofa")
    other, cached = cache.vector(CountingEncoder("b"), "sofa")
    assert not cached
    assert not np.array_equal(one, other)
    assert cache.vector(CountingEncoder("a"), "sofa")[1]


def test_entries_expire_in_memory_and_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path, ttl=30 * DAY)
    cache.vector(encoder, "sofa")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 29 * DAY)
    assert cache.vector(encoder, "sofa")[1]
    monkeypatch.setattr(time, "time", lambda: real() + 31 * DAY)
    assert not QueryCache(path, ttl=30 * DAY).vector(encoder, "sofa")[1]
    monkeypatch.setattr(time, "time", lambda: real() + 62 * DAY)
    assert not cache.vector(encoder, "sofa")[1]


def test_the_oldest_entries_go_above_the_bound(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path, max_entries=5, memory=2)
    for number in range(12):
        cache.vector(encoder, f"query {number}")
    assert cache.stats()["entries"] == 5
    assert cache.vector(encoder, "query 11")[1]
    assert not cache.vector(encoder, "query 3")[1]


def test_hits_and_misses_add_up_over_instances(path: Path) -> None:
    encoder = CountingEncoder()
    for _ in range(2):
        cache = QueryCache(path)
        for query in ("a", "b", "a"):
            cache.vector(encoder, query)
        cache.close()
    stats = QueryCache(path).stats()
    assert (stats["hits"], stats["misses"], stats["entries"]) == (4, 2, 2)
    assert stats["hit_rate"] == pytest.approx(4 / 6)
    assert 0 <= stats["oldest_days"] < 0.01


def test_clear_drops_entries_and_counters(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    cache.vectors(encoder, ["a", "b", "c"])
    assert cache.clear() == 3
    stats = cache.stats()
    assert (stats["entries"], stats["hits"], stats["misses"]) == (0, 0, 0)
    assert stats["hit_rate"] is None and stats["oldest_days"] is None
    assert not cache.vector(encoder, "a")[1]


def test_warm_encodes_only_what_is_missing_and_counts_no_look_up(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    assert cache.warm(encoder, ["Sofa", "sofa ", "lamp", ""]) == 2
    assert cache.warm(encoder, ["lamp", "rug"]) == 1
    assert encoder.asked == ["sofa", "lamp", "rug"]
    assert cache.stats()["misses"] == 0
    assert cache.vector(encoder, "rug")[1]


def test_many_queries_keep_their_order_and_repetitions(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    cache.vector(encoder, "b")
    found = cache.vectors(encoder, ["a", "b", "A", "c"])
    expected = CountingEncoder().queries(["a", "b", "a", "c"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert encoder.asked == ["b", "a", "c"]
    assert cache.vectors(encoder, []).shape == (0, 0)


@pytest.mark.parametrize("damage", ["garbage", "truncated", "middle", "another database"])
def test_a_damaged_file_begins_anew_with_a_warning(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = CountingEncoder(dim=256)
    cache = QueryCache(path)
    cache.vectors(encoder, [f"query {number}" for number in range(200)])
    cache.close()
    content = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(os.urandom(5000))
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 3])
    elif damage == "middle":
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 8192) + content[-4096:])
    else:
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE entries (a TEXT)")
            connection.execute("PRAGMA user_version=1")
    with caplog.at_level(logging.WARNING):
        cache = QueryCache(path)
        for number in range(200):
            vector, _ = cache.vector(encoder, f"query {number}")
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        cache.close()
    assert "damaged" in caplog.text and str(path) in caplog.text
    assert QueryCache(path).vector(encoder, "query 199")[1]


def test_a_vector_of_another_size_is_encoded_again(path: Path) -> None:
    cache = QueryCache(path)
    cache.share("c0ffee", ["sofa", "vase"], np.eye(2, 4, dtype=np.float32))
    cache.share("c0ffee", ["lamp"], np.eye(1, 8, dtype=np.float32))
    encoder = CountingEncoder()
    found = cache.vectors(encoder, ["lamp", "sofa", "vase"])
    assert encoder.asked == ["sofa", "vase"] and found[0].tolist() == np.eye(8)[0].tolist()
    assert QueryCache(path).vector(encoder, "sofa")[1]  # the entry is a good one now


def test_a_damaged_vector_is_encoded_again(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    expected, _ = cache.vector(encoder, "sofa")
    cache.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET vector = ?", [b"\x00\x00\xc0\x7f" * 8])
    found, cached = QueryCache(path).vector(encoder, "sofa")
    assert not cached
    np.testing.assert_array_equal(found, expected)


def test_a_folder_that_cannot_be_written_only_costs_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = QueryCache(tmp_path / "no such folder" / "cache.db")
    encoder = CountingEncoder()
    assert not cache.vector(encoder, "sofa")[1]
    assert cache.vector(encoder, "sofa")[1]  # from memory
    assert cache.stats()["entries"] == 0
    assert "cannot be opened" in caplog.text


def test_a_locked_file_only_costs_the_cache(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnisearch.engine.query_embeddings.sqlite_store._LOCK_SECONDS", 0.05)
    QueryCache(path).vector(CountingEncoder(), "lamp")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache = QueryCache(path)
    vector, cached = cache.vector(CountingEncoder(), "sofa")
    assert not cached and len(vector) == 8
    assert "locked" in caplog.text
    other.execute("ROLLBACK")
    other.close()
    assert QueryCache(path).vector(CountingEncoder(), "lamp")[1]


def test_threads_share_one_cache(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path, memory=4)
    expected = CountingEncoder().queries([f"query {n}" for n in range(20)])
    wrong: list[int] = []

    def look() -> None:
        for number in [*range(20), *reversed(range(20))]:
            found, _ = cache.vector(encoder, f"query {number}")
            if not np.allclose(found, expected[number], atol=1e-6):
                wrong.append(number)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    stats = cache.stats()
    assert stats["hits"] + stats["misses"] == 8 * 40
    assert stats["entries"] == 20


def test_lone_surrogates_and_six_scripts_are_keys(path: Path) -> None:
    encoder = CountingEncoder()
    cache = QueryCache(path)
    queries = ["диван", "沙发", "ソファ", "أريكة", "सोफ़ा", "โซฟา", "\ud800 sofa"]
    cache.vectors(encoder, queries)
    assert all(cache.vector(encoder, query)[1] for query in queries)
    assert cache.stats()["entries"] == len(queries)


_WRITER = """
    import sys
    from pathlib import Path
    from omnisearch.engine.query_embeddings.cache import QueryCache
    from test_engine_query_cache import CountingEncoder
    cache, encoder = QueryCache(Path(sys.argv[1]), memory=1), CountingEncoder(dim=64)
    print("ready", flush=True)
    number = 0
    while number < int(sys.argv[2]):
        cache.vector(encoder, f"query {number % 50}")
        number += 1
    cache.close()
"""


def _start(path: Path, rounds: int) -> subprocess.Popen[str]:
    code = textwrap.dedent(_WRITER)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(rounds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_processes_share_one_file(path: Path) -> None:
    processes = [_start(path, 150) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    stats = QueryCache(path).stats()
    assert stats["entries"] == 50
    assert stats["hits"] + stats["misses"] == 450


def test_a_killed_process_leaves_a_cache_that_works(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for wait in (0.0, 0.01, 0.03):
        process = _start(path, 10**9)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    encoder = CountingEncoder(dim=64)
    cache = QueryCache(path)
    cache.vectors(encoder, [f"query {number}" for number in range(50)])
    assert cache.stats()["entries"] == 50
    assert not caplog.records


def test_the_cache_of_a_workspace_takes_its_settings(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    workspace.settings.write_text("[engine]\ncache_days = 2.0\ncache_entries = 7\n")
    stats = QueryCache.open_default(tmp_path).stats()
    assert (stats["ttl_days"], stats["max_entries"]) == (2.0, 7)
