"""The query embedder: order, coalescing, micro-batches, back-pressure, deadlines, swaps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from test_engine_query_cache import CountingEncoder

from omnisearch.data.workspace.errors import OmniError
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.query_embeddings.embedder import QueryEmbedder
from omnisearch.engine.query_embeddings.jobs import Overloaded


class SlowTower(CountingEncoder):
    """Runs only while `open` is set; remembers its batches."""

    def __init__(self, checkpoint: str = "c0ffee") -> None:
        super().__init__(checkpoint)
        self.open = threading.Event()
        self.open.set()
        self.batches: list[list[str]] = []

    def queries(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        self.batches.append(list(texts))
        assert self.open.wait(10)
        if "poison" in texts:
            raise ValueError("no")
        return super().queries(texts, batch_size)


def wanted(*texts: str, checkpoint: str = "c0ffee") -> np.ndarray:
    return CountingEncoder(checkpoint).queries(texts)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[QueryCache]:
    cache = QueryCache(tmp_path / "cache.db")
    yield cache
    cache.close()


@pytest.fixture
def tower() -> SlowTower:
    return SlowTower()


@pytest.fixture
def embedder(cache: QueryCache, tower: SlowTower) -> Iterator[QueryEmbedder]:
    embedder = QueryEmbedder(cache, tower, window=0.02, max_batch=8, max_waiting=10)
    yield embedder
    tower.open.set()
    embedder.close()


async def until_running(tower: SlowTower, batches: int = 1) -> None:
    for _ in range(1000):
        if len(tower.batches) >= batches:
            return
        await asyncio.sleep(0.002)
    raise AssertionError("the model was not asked")


def test_rows_follow_the_queries(embedder: QueryEmbedder) -> None:
    found = asyncio.run(embedder.embed(["sofa", "lamp", "Sofa "]))
    np.testing.assert_allclose(found, wanted("sofa", "lamp", "sofa"))
    np.testing.assert_array_equal(embedder.cached("LAMP"), found[1])
    assert embedder.cached("rug") is None
    mixed = asyncio.run(embedder.embed(["rug", "lamp", "chair", "rug"]))
    np.testing.assert_allclose(mixed, wanted("rug", "lamp", "chair", "rug"))
    assert asyncio.run(embedder.embed([])).shape == (0, 8)
    assert embedder.checkpoint == "c0ffee" and embedder.dim == 8


def test_what_is_cached_is_a_copy(embedder: QueryEmbedder) -> None:
    asyncio.run(embedder.embed(["sofa"]))
    found = embedder.cached("sofa")
    assert found is not None
    found[:] = 0
    np.testing.assert_allclose(embedder.cached("sofa"), wanted("sofa")[0])


def test_concurrent_misses_of_one_query_run_the_model_once(
    embedder: QueryEmbedder, tower: SlowTower
) -> None:
    async def many() -> list[np.ndarray]:
        tower.open.clear()
        first = [asyncio.create_task(embedder.embed([text])) for text in ["sofa", "Sofa"] * 20]
        await until_running(tower)
        second = [asyncio.create_task(embedder.embed(["SOFA", "sofa "])) for _ in range(20)]
        await asyncio.sleep(0.02)
        tower.open.set()
        return await asyncio.gather(*first, *second)

    for found in asyncio.run(many()):
        np.testing.assert_allclose(found, np.repeat(wanted("sofa"), len(found), axis=0))
    assert tower.batches == [["sofa"]]
    assert embedder.stats()["joined"] == 59


def test_different_misses_share_a_batch_up_to_its_bound(
    embedder: QueryEmbedder, tower: SlowTower
) -> None:
    async def many() -> list[np.ndarray]:
        return await asyncio.gather(*(embedder.embed([f"query {n}"]) for n in range(10)))

    found = np.concatenate(asyncio.run(many()))
    np.testing.assert_allclose(found, wanted(*(f"query {n}" for n in range(10))))
    assert [len(batch) for batch in tower.batches] == [8, 2]
    assert embedder.stats()["batch_sizes"] == {2: 1, 8: 1}


def test_several_event_loops_wait_on_one_embedder(
    embedder: QueryEmbedder, tower: SlowTower
) -> None:
    wrong: list[str] = []

    async def ask(texts: list[str]) -> None:
        for text in texts:
            if not np.allclose(await embedder.embed([text]), wanted(text)):
                wrong.append(text)

    def run() -> None:
        asyncio.run(ask([f"query {number}" for number in range(30)]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong
    assert sorted(tower.asked) == sorted(f"query {number}" for number in range(30))


def test_a_full_queue_refuses_and_recovers(embedder: QueryEmbedder, tower: SlowTower) -> None:
    async def flood() -> None:
        tower.open.clear()
        running = asyncio.create_task(embedder.embed(["running"]))
        await until_running(tower)
        waiting = [asyncio.create_task(embedder.embed([f"query {n}"])) for n in range(10)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded) as refused:
            await embedder.embed(["one too many"])
        assert 1 <= refused.value.retry_after <= 30
        joined = asyncio.create_task(embedder.embed(["query 3"]))  # costs no place
        await asyncio.sleep(0.01)
        tower.open.set()
        await asyncio.gather(running, joined, *waiting)
        np.testing.assert_allclose(await embedder.embed(["one too many"]), wanted("one too many"))

    asyncio.run(flood())
    stats = embedder.stats()
    assert stats["refused"] == 1 and stats["waiting"] == 0


def test_a_request_larger_than_the_queue_goes_through_in_parts(embedder: QueryEmbedder) -> None:
    texts = [f"query {number}" for number in range(35)]
    np.testing.assert_allclose(asyncio.run(embedder.embed(texts)), wanted(*texts))


def test_a_late_answer_raises_and_is_remembered(embedder: QueryEmbedder, tower: SlowTower) -> None:
    async def late() -> None:
        tower.open.clear()
        with pytest.raises(TimeoutError):
            await embedder.embed(["sofa"], timeout=0.03)
        tower.open.set()
        np.testing.assert_allclose(await embedder.embed(["sofa"], timeout=5), wanted("sofa"))

    asyncio.run(late())
    assert tower.asked == ["sofa"]


def test_a_cancelled_request_disturbs_nobody(embedder: QueryEmbedder, tower: SlowTower) -> None:
    async def cancel() -> np.ndarray:
        tower.open.clear()
        one = asyncio.create_task(embedder.embed(["sofa"]))
        other = asyncio.create_task(embedder.embed(["sofa", "lamp"]))
        await until_running(tower)
        one.cancel()
        await asyncio.sleep(0)
        tower.open.set()
        return await other

    np.testing.assert_allclose(asyncio.run(cancel()), wanted("sofa", "lamp"))


def test_a_loop_that_closed_disturbs_nobody(embedder: QueryEmbedder, tower: SlowTower) -> None:
    async def give_up() -> None:
        tower.open.clear()
        asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)  # type: ignore[union-attr]
        await embedder.embed(["sofa"])

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(give_up())
    tower.open.set()
    np.testing.assert_allclose(
        asyncio.run(embedder.embed(["sofa", "lamp"])), wanted("sofa", "lamp")
    )


def test_a_query_the_model_fails_on_fails_alone(embedder: QueryEmbedder, tower: SlowTower) -> None:
    async def mixed() -> list[object]:
        asked = (embedder.embed([text]) for text in ("sofa", "poison", "lamp"))
        return await asyncio.gather(*asked, return_exceptions=True)

    sofa, poison, lamp = asyncio.run(mixed())
    np.testing.assert_allclose(sofa, wanted("sofa"))
    np.testing.assert_allclose(lamp, wanted("lamp"))
    assert isinstance(poison, OmniError) and "poison" not in str(poison)
    asked = len(tower.batches)
    with pytest.raises(OmniError):  # a failure is not cached
        asyncio.run(embedder.embed(["poison"]))
    assert len(tower.batches) == asked + 1
    assert embedder.stats()["failed"] == 2


def test_a_swap_lets_requests_under_way_end_with_their_tower(
    embedder: QueryEmbedder, tower: SlowTower
) -> None:
    new = SlowTower("decaf")

    async def swap() -> None:
        tower.open.clear()
        before = asyncio.create_task(embedder.embed(["sofa"]))
        await until_running(tower)
        queued = asyncio.create_task(embedder.embed(["lamp"]))
        await asyncio.sleep(0)
        embedder.swap(new)
        after = asyncio.create_task(embedder.embed(["sofa", "lamp"]))
        await asyncio.sleep(0.01)
        tower.open.set()
        np.testing.assert_allclose(await before, wanted("sofa"))
        np.testing.assert_allclose(await queued, wanted("lamp"))
        np.testing.assert_allclose(await after, wanted("sofa", "lamp", checkpoint="decaf"))

    asyncio.run(swap())
    np.testing.assert_allclose(embedder.cached("sofa"), wanted("sofa", checkpoint="decaf")[0])
    np.testing.assert_allclose(embedder.cached("sofa", tower), wanted("sofa")[0])
    again = asyncio.run(embedder.embed(["lamp"], tower=tower))
    np.testing.assert_allclose(again, wanted("lamp"))
    assert new.asked == ["sofa", "lamp"] and tower.asked == ["sofa", "lamp"]


def test_what_another_process_stored_is_no_work_for_the_model(
    embedder: QueryEmbedder, tower: SlowTower, tmp_path: Path
) -> None:
    other = QueryCache(tmp_path / "cache.db")
    other.warm(CountingEncoder(), ["sofa", "lamp"])
    other.close()
    found = asyncio.run(embedder.embed(["sofa", "rug", "Lamp"]))
    np.testing.assert_allclose(found, wanted("sofa", "rug", "lamp"))
    assert tower.batches == [["rug"]]
    assert embedder.stats()["store_hits"] == 2


def test_a_store_that_fails_only_costs_the_cache(tmp_path: Path, tower: SlowTower) -> None:
    cache = QueryCache(tmp_path / "no such folder" / "cache.db")
    embedder = QueryEmbedder(cache, tower)
    for _ in range(2):
        found = asyncio.run(embedder.embed(["sofa", "lamp"]))
        np.testing.assert_allclose(found, wanted("sofa", "lamp"))
    embedder.close()
    assert tower.asked == ["sofa", "lamp"]


def test_the_counters_reach_the_store(cache: QueryCache, tower: SlowTower) -> None:
    embedder = QueryEmbedder(cache, tower)
    asyncio.run(embedder.embed(["sofa", "lamp"]))
    asyncio.run(embedder.embed(["sofa", "Sofa", "rug"]))
    embedder.cached("rug")
    stats = embedder.stats()
    assert (stats["memory_hits"], stats["encoded"]) == (3, 3)
    assert stats["hit_rate"] == pytest.approx(0.5)
    assert stats["in_memory"] == 3 and 0 <= stats["newest_seconds"] <= stats["oldest_seconds"] < 60
    embedder.close()
    found = cache.stats()
    assert (found["hits"], found["misses"]) == (3, 3)


def test_closing_answers_what_waits_and_refuses_what_comes(
    cache: QueryCache, tower: SlowTower
) -> None:
    embedder = QueryEmbedder(cache, tower)

    async def close() -> np.ndarray:
        tower.open.clear()
        waiting = asyncio.create_task(embedder.embed(["sofa"]))
        await until_running(tower)
        threading.Timer(0.05, tower.open.set).start()
        await asyncio.to_thread(embedder.close)
        return await waiting

    np.testing.assert_allclose(asyncio.run(close()), wanted("sofa"))
    with pytest.raises(OmniError, match="closed"):
        asyncio.run(embedder.embed(["lamp"]))


def test_expired_entries_are_encoded_again(
    embedder: QueryEmbedder, tower: SlowTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(embedder.embed(["sofa"]))
    while embedder.cache.stats()["entries"] == 0:  # stored after the answer
        time.sleep(0.01)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 31 * 86_400)
    assert embedder.cached("sofa") is None
    asyncio.run(embedder.embed(["sofa"]))
    assert tower.asked == ["sofa", "sofa"]
