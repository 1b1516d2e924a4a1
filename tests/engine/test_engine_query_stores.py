"""The table in memory, and Redis as the shared store, on a server that the test starts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_server import RedisServer, free_port
from test_engine_query_cache import CountingEncoder

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.query_embeddings.protocol import DAY, packed, unpacked
from omnisearch.engine.query_embeddings.redis_store import RedisStore
from omnisearch.engine.query_embeddings.table import VectorTable


def unit(count: int, dim: int = 4) -> np.ndarray:
    rows = np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(capacity: int, keys: list[str]) -> tuple[VectorTable, np.ndarray]:
    table, vectors = VectorTable(capacity, 4), unit(len(keys))
    table.put(keys, vectors, np.full(len(keys), 100.0))
    return table, vectors


def test_a_batch_gives_rows_and_the_places_of_the_missing() -> None:
    table, vectors = filled(8, ["a", "b", "c"])
    rows, missing = table.rows(["b", "x", "a", "b", "y"], 0.0)
    assert missing.tolist() == [1, 4]
    np.testing.assert_array_equal(rows[[0, 2, 3]], vectors[[1, 0, 1]])
    assert table.rows(["a"], 100.5)[1].tolist() == [0]  # too old
    assert table.row("a", 100.5) is None and table.row("x", 0.0) is None
    assert table.ages(130.0) == (30.0, 30.0)


def test_the_least_recently_used_rows_go() -> None:
    table, _ = filled(4, ["a", "b", "c", "d"])
    table.rows(["a", "d"], 0.0)
    table.row("b", 0.0)
    table.put(["e"], unit(1), np.array([100.0]))
    assert len(table) == 4
    assert table.rows(["a", "b", "c", "d", "e"], 0.0)[1].tolist() == [2]


def test_other_spellings_find_a_row_and_go_with_it() -> None:
    table, vectors = filled(1, ["sofa"])
    for number in range(10):
        table.also(f"Sofa{' ' * number}", "sofa")
    found = [number for number in range(10) if table.row(f"Sofa{' ' * number}", 0.0) is not None]
    assert found == [6, 7, 8, 9]  # a few spellings, the latest
    np.testing.assert_array_equal(table.row("sofa", 0.0), vectors[0])
    table.also("x" * 513, "sofa")
    assert table.row("x" * 513, 0.0) is None
    table.put(["lamp"], unit(1), np.array([100.0]))
    assert table.row("Sofa      ", 0.0) is None and table.row("sofa", 0.0) is None
    table.also("Sofa", "sofa")  # its row is gone
    assert table.row("Sofa", 0.0) is None


@settings(max_examples=60)
@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from("pgas"), st.integers(0, 9)), max_size=60),
)
def test_whatever_happens_a_text_finds_its_own_vector(
    capacity: int, steps: list[tuple[str, int]]
) -> None:
    table, vectors = VectorTable(capacity, 4), unit(10)
    for step, number in steps:
        key, spelling = f"k{number}", f"K{number}"
        if step == "p":
            table.put([key], vectors[number : number + 1], np.array([100.0]))
        elif step == "a":
            table.also(spelling, key)
        elif step == "g":
            rows, missing = table.rows([key, spelling], 0.0)
            for place in {0, 1} - set(missing.tolist()):
                np.testing.assert_array_equal(rows[place], vectors[number])
        else:
            found = table.row(spelling, 0.0)
            assert found is None or np.array_equal(found, vectors[number])
        assert len(table) <= capacity
        assert len(table._slot) <= 5 * capacity + capacity


def test_more_than_the_capacity_at_once_keeps_the_last() -> None:
    table, vectors = filled(3, [f"k{number}" for number in range(10)])
    rows, missing = table.rows(["k6", "k7", "k8", "k9"], 0.0)
    assert missing.tolist() == [0]
    np.testing.assert_array_equal(rows[1:], vectors[7:])


def test_threads_never_read_another_texts_row() -> None:
    table, vectors = VectorTable(8, 4), unit(64)
    keys = [f"k{number}" for number in range(64)]
    wrong: list[str] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(300):
            some = random.integers(0, 64, 5)
            names = [keys[at] for at in some]
            rows, missing = table.rows(names, 0.0)
            there = np.setdiff1d(np.arange(5), missing)
            if not np.array_equal(rows[there], vectors[some[there]]):
                wrong.append("rows")
            table.put(names, vectors[some], np.full(5, 100.0))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_damaged_bytes_are_no_vector() -> None:
    vector = unit(1)[0]
    np.testing.assert_array_equal(unpacked(packed(vector)), vector)
    nan = np.full(4, np.nan, np.float32).tobytes()
    for blob in (None, b"", b"abc", packed(vector)[:-1], packed(vector * 2), nan, "text"):
        assert unpacked(blob) is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


def redis_cache(server: RedisServer, memory: int = 100, **options: float) -> QueryCache:
    bounds = {"ttl": 30 * DAY, "max_entries": 1000} | options
    store = RedisStore(server.url, **bounds)  # type: ignore[arg-type]
    return QueryCache(Path("unused"), memory=memory, store=store, **bounds)  # type: ignore[arg-type]


def test_redis_shares_vectors_between_caches_and_checkpoints_stay_apart(
    server: RedisServer,
) -> None:
    encoder, texts = CountingEncoder("one"), ["sofa", "диван", "沙发 床", "\ud800 lamp", "x" * 600]
    wanted = redis_cache(server).vectors(encoder, texts)
    later = redis_cache(server)
    np.testing.assert_array_equal(later.vectors(encoder, texts), wanted)
    assert later.vector(encoder, "SOFA")[1] and len(encoder.asked) == len(texts)
    other = CountingEncoder("two")
    found, cached = later.vector(other, "sofa")
    assert not cached and not np.array_equal(found, wanted[0])


def test_redis_counts_entries_hits_and_ages(server: RedisServer) -> None:
    encoder = CountingEncoder()
    for _ in range(2):
        cache = redis_cache(server)
        cache.vectors(encoder, ["a", "b"])
        cache.vector(encoder, "a")
        cache.close()
    stats = redis_cache(server).stats()
    assert (stats["entries"], stats["hits"], stats["misses"]) == (2, 4, 2)
    assert 0 <= stats["oldest_days"] < 0.01 and stats["bytes"] > 0
    assert redis_cache(server).clear() == 2
    assert server.client().dbsize() == 0


def test_redis_drops_the_oldest_above_its_bound(server: RedisServer) -> None:
    encoder = CountingEncoder()
    cache = redis_cache(server, memory=1, max_entries=5)
    for number in range(12):
        cache.vector(encoder, f"query {number}")
    assert cache.stats()["entries"] == 5
    assert len(list(server.client().scan_iter("omnisearch:c0ffee:*"))) == 5
    assert cache.vector(encoder, "query 8")[1]
    assert not cache.vector(encoder, "query 3")[1]


def test_redis_entries_end_with_their_time_to_live(server: RedisServer) -> None:
    encoder = CountingEncoder()
    cache = redis_cache(server, ttl=0.3)
    cache.vector(encoder, "sofa")
    ttl = server.client().pttl("omnisearch:c0ffee:sofa")
    assert 0 < ttl <= 300
    time.sleep(0.35)
    assert not cache.vector(encoder, "sofa")[1]
    assert redis_cache(server, ttl=0.3).stats()["entries"] == 1


def test_a_damaged_redis_value_is_encoded_again(server: RedisServer) -> None:
    encoder = CountingEncoder()
    wanted, _ = redis_cache(server).vector(encoder, "sofa")
    client = server.client()
    for damage in (b"", b"short", b"\0" * 40, b"\xff" * 40):
        client.set("omnisearch:c0ffee:sofa", damage)
        found, cached = redis_cache(server).vector(encoder, "sofa")
        assert not cached
        np.testing.assert_array_equal(found, wanted)
    client.delete("omnisearch:c0ffee:sofa")
    client.lpush("omnisearch:c0ffee:sofa", "a list")
    np.testing.assert_array_equal(redis_cache(server).vector(encoder, "sofa")[0], wanted)


def test_a_redis_that_dies_only_costs_the_cache_and_is_used_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnisearch.engine.query_embeddings.redis_store._REST", 0.2)
    encoder = CountingEncoder()
    cache = redis_cache(server)
    cache.vector(encoder, "sofa")
    server.stop()
    with caplog.at_level(logging.WARNING):
        start = time.monotonic()
        for number in range(50):
            assert not cache.vector(encoder, f"query {number}")[1]
        assert time.monotonic() - start < 3
        assert cache.vector(encoder, "sofa")[1]  # from memory
        assert caplog.text.count("cannot be reached") == 1
        server.start()
        time.sleep(0.25)
        cache.vector(encoder, "lamp")
        assert "answers again" in caplog.text
    assert redis_cache(server).vector(encoder, "lamp")[1]


def test_a_redis_that_hangs_is_left_alone_for_a_while(server: RedisServer) -> None:
    encoder = CountingEncoder()
    cache = redis_cache(server)
    cache.vector(encoder, "sofa")
    server.client().execute_command("CLIENT", "PAUSE", "3000", "ALL")
    start = time.monotonic()
    for number in range(20):
        cache.vector(encoder, f"query {number}")
    assert time.monotonic() - start < 1.5


def test_a_password_is_used_and_never_shown(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    server.start("--requirepass", "secret7")
    url = f"redis://:secret7@127.0.0.1:{server.port}/0"
    store = RedisStore(url, ttl=DAY, max_entries=10)
    cache = QueryCache(Path("unused"), store=store)
    cache.vector(CountingEncoder(), "sofa")
    stats = cache.stats()
    assert stats["entries"] == 1 and "secret7" not in str(stats)
    wrong = RedisStore(url.replace("secret7", "secret8"), ttl=DAY, max_entries=10)
    assert not QueryCache(Path("unused"), store=wrong).vector(CountingEncoder(), "sofa")[1]
    assert "cannot be reached" in caplog.text and "secret8" not in caplog.text


def test_the_url_comes_from_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    workspace = Workspace.create(tmp_path)
    assert QueryCache.open_default(workspace).stats()["store"].endswith("query_cache.db")
    workspace.settings.write_text('[cache]\nurl = "redis://one:6379/2"\n')
    assert QueryCache.open_default(workspace).store.where == "redis://one:6379/2"
    monkeypatch.setenv("OMNISEARCH_CACHE_URL", f"redis://127.0.0.1:{free_port()}")
    assert not QueryCache.open_default(workspace).vector(CountingEncoder(), "sofa")[1]
    for url in ("http://one", "localhost:6379", "redis://host:port"):
        monkeypatch.setenv("OMNISEARCH_CACHE_URL", url)
        with pytest.raises(InputError):
            QueryCache.open_default(workspace)


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "omnisearch.engine.query_embeddings.redis_store.find_spec", lambda name: None
    )
    with pytest.raises(InputError, match=r"omnisearchsage\[redis\]"):
        RedisStore("redis://localhost", ttl=1, max_entries=1)
