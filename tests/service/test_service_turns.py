"""The queues of pages and of large bodies give way to searches, but not for ever."""

from __future__ import annotations

import asyncio

from omnisearch.service.gate.guard import Bodies
from omnisearch.service.gate.turns import Turns


def started(under_way: list[int], pages: int, gap: float = 0.0) -> list[float]:
    """When each of some pages starts, in seconds, while searches are under way."""

    async def run() -> list[float]:
        loop, times = asyncio.get_running_loop(), []
        turns, begun = Turns(lambda: under_way[0], gap), loop.time()

        async def page() -> None:
            await turns.wait()
            times.append(loop.time() - begun)

        async def search() -> None:
            await asyncio.sleep(0.012)
            under_way[0] = 0

        await asyncio.gather(search(), *(page() for _ in range(pages)))
        return times

    return asyncio.run(run())


def test_pages_wait_for_searches_a_little_each() -> None:
    before, quiet = started([1], 50), started([0], 50)
    assert before[0] >= 0.004, "the first page did not give way"
    assert sum(time < 0.011 for time in before) <= 3, "pages came one after another"
    assert len(before) == len(quiet) == 50 and quiet[-1] < 0.1


def test_pages_leave_the_event_loop_between_them() -> None:
    times = started([0], 20, gap=0.005)
    assert times[0] < 0.005, "a page alone waited"
    assert times[-1] >= 19 * 0.005 * 0.9


def test_one_page_after_another_keeps_the_gap_too() -> None:
    """As on one connection, where each is asked for when the last is answered."""

    async def run() -> float:
        loop, turns = asyncio.get_running_loop(), Turns(gap=0.005)
        begun = loop.time()
        for _ in range(20):
            await turns.wait()
        return loop.time() - begun

    assert asyncio.run(run()) >= 19 * 0.005 * 0.9


def test_the_parts_of_large_bodies_leave_the_event_loop_to_searches() -> None:
    large, other = [bytes([at]) * 40_000 for at in range(10)], [b"x" * 40_000] * 10
    small = [b"a small one, ", b"in parts"]

    ended: list[float] = []
    reading = Bodies(10.0, Turns(gap=0.005))

    async def read(parts: list[bytes]) -> bytes | None:
        left = list(parts)

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        found = await reading.read({}, receive, 1 << 20)
        ended.append(asyncio.get_running_loop().time())
        return found

    async def run() -> tuple[list[bytes | None], float]:
        begun = asyncio.get_running_loop().time()
        return await asyncio.gather(read(large), read(other), read(small)), begun

    found, begun = asyncio.run(run())
    assert found == [b"".join(large), b"".join(other), b"".join(small)]
    first, *_, last = (time - begun for time in ended)
    assert first < 0.005, "a small body waited for large ones"
    assert last >= 19 * 0.005 * 0.9, "nothing came between the parts"
