"""Large requests: read in slices, admitted by cost, and answered as small ones are."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter
from server_process import Server

from omnisearch.service.errors import Refusal
from omnisearch.service.rows import read_lines, read_rows
from omnisearch.service.schemas import MAX_TEXT
from omnisearch.service.serving.lane import SMALL, Lane

TEXT = TypeAdapter(str)
SIGNS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


class Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: str
    b: int | None = None


def read(body: bytes, row: Any = TEXT, most: int = 1000) -> list[Any]:
    return read_rows(body, "rows", row, most, lambda: None)


@given(st.lists(SIGNS, min_size=1, max_size=20), st.booleans(), st.sampled_from([None, 1, 4]))
@example(['"}]', "\\", "[{", '\\"'], True, None)
def test_rows_are_those_of_a_json_parser(texts: list[str], ascii_: bool, indent: Any) -> None:
    body = json.dumps({"rows": texts}, ensure_ascii=ascii_, indent=indent).encode()
    assert read(body) == texts
    pairs = [{"a": text, "b": number} for number, text in enumerate(texts)]
    body = json.dumps({"rows": pairs}, ensure_ascii=ascii_, indent=indent).encode()
    assert [row.model_dump() for row in read(body, TypeAdapter(Pair))] == pairs


@given(st.binary(max_size=200))
@example(b'{"rows":["a"]')
@example(b'{"rows":["a",]}')
@example(b'{"rows":["a"]} x')
@example(b'{"rows":[["a"]]}')
@example(b'{"lines":["a"]}')
def test_what_is_no_such_list_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read(body)
    assert refused.value.status == 400 and "byte" in refused.value.where


def test_an_invalid_row_is_named() -> None:
    body = json.dumps({"rows": [{"a": "x"}, {"a": "y", "c": 1}]}).encode()
    with pytest.raises(Refusal) as refused:
        read(body, TypeAdapter(Pair))
    assert refused.value.status == 422 and refused.value.where == "rows 1 c"
    with pytest.raises(Refusal) as refused:
        read(json.dumps({"rows": ["x"] * 5}).encode(), most=4)
    assert refused.value.status == 413


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
@example(["x" * 4_096, "y"])
@example(["x" * 30_000, "y"])
@example(["ü" * 4_096] * 9)
def test_lines_are_those_of_the_text(texts: list[str]) -> None:
    body = "\n".join(texts).encode()
    texts = texts[:-1] if len(texts) > 1 and not texts[-1] else texts  # a line end at the end
    if texts and all(text and not text.isspace() and len(text) <= MAX_TEXT for text in texts):
        assert read_lines(body, 1000, lambda: None) == texts
    else:
        with pytest.raises(Refusal) as refused:
            read_lines(body, 1000, lambda: None)
        assert refused.value.status == 422 and refused.value.where.startswith("line ")


def test_no_step_of_reading_is_long() -> None:
    """Between two calls of `give_way` little is done, whatever the body is."""
    rows = [{"a": "x" * 300, "b": 1}] * 20_000
    body, row = json.dumps({"rows": rows}).encode(), TypeAdapter(Pair)
    gc.collect()
    gc.freeze()  # as the service does: the objects of other tests are not looked through
    at, longest = time.thread_time(), 0.0

    def give_way() -> None:
        nonlocal at, longest
        now = time.thread_time()
        at, longest = now, max(longest, now - at)

    assert len(read_rows(body, "rows", row, 20_000, give_way)) == 20_000
    gc.unfreeze()
    assert longest < 0.05


def test_large_requests_are_admitted_by_their_cost() -> None:
    lane = Lane(100)
    with lane.admitted(60):
        lane.check()
        with pytest.raises(Refusal) as refused, lane.admitted(60):
            pass
        assert refused.value.status == 503 and refused.value.retry_after
        with lane.admitted(40), pytest.raises(Refusal) as refused:
            lane.check()
        assert refused.value.close
    with lane.admitted(1000):  # a large one alone is not refused
        assert asyncio.run(_in(lane)) == 5
    assert lane.cost == 0
    lane.close()


async def _in(lane: Lane) -> int:
    return await lane.run(lambda: 5)


def test_a_large_batch_has_the_answers_of_small_ones(server: Server) -> None:
    queries = [f"brass lamp number {number} " + "of oak " * 20 for number in range(400)]
    assert len(json.dumps(queries)) > SMALL
    _, _, large = server.post("/v1/embed", {"queries": queries})
    found = json.loads(large)
    assert found["count"] == 400
    for start in (0, 250):
        _, _, small = server.post("/v1/embed", {"queries": queries[start : start + 3]})
        for got, wanted in zip(
            found["embeddings"][start:], json.loads(small)["embeddings"][:3], strict=False
        ):
            assert got == pytest.approx(wanted, abs=1e-3)


def test_large_feedback_is_checked_row_by_row(server: Server) -> None:
    event = {"query": "lamp", "entity": "pin", "action": "click", "session": "s" * 100}
    events = [event | {"event_id": f"large-{n}", "id": f"p{n}"} for n in range(400)]
    assert server.post("/v1/feedback", {"events": events})[0] == 200
    status, _, body = server.post("/v1/feedback", {"events": [*events, event]})
    assert status == 422 and "events 400 event_id" in json.loads(body)["error"]["where"]


_BODY = b'{"queries":\r\n\r\n["lamp"]}'
_POST = b"POST /v1/embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_POSTED = _POST + b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


def _answers(port: int, parts: Iterable[bytes]) -> bytes:
    """All that comes back for what is sent on one connection, until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
            time.sleep(0.002)
        answers = b""
        with suppress(ConnectionResetError):
            while part := client.recv(65536):
                answers += part
    return answers


def _get(path: str, close: bool = False) -> bytes:
    end = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{end}\r\n".encode()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    words = [f"lamp{number}" for number in range(500)]
    asked = b"".join(_get(f"/v1/suggest?q={word}") + _POSTED for word in words[:20])
    asked += b"".join(_get(f"/v1/suggest?q={word}") for word in words[20:])
    answers = _answers(server.port, [asked + _get("/healthz", close=True)])
    assert answers.count(b"HTTP/1.1 200 OK") == 521
    found = re.findall(rb'"query":"(lamp[0-9]+)"|(embeddings)', answers)
    wanted = [each for word in words[:20] for each in (word, "embeddings")] + words[20:]
    assert [(query or embeddings).decode() for query, embeddings in found] == wanted


@given(cuts=st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=30, deadline=None)
def test_requests_may_be_cut_anywhere(server: Server, cuts: list[int]) -> None:
    asked = _get("/healthz") + _POSTED + _get("/v1/suggest?q=dress") + _get("/healthz", close=True)
    ends = [0, *sorted(min(cut, len(asked)) for cut in cuts), len(asked)]
    answers = _answers(server.port, [asked[a:b] for a, b in itertools.pairwise(ends) if a < b])
    assert answers.count(b"HTTP/1.1 200 OK") == 4


def test_what_follows_a_chunked_body_is_not_answered(server: Server) -> None:
    """The connection ends, and says so in its last answer."""
    asked = _POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)
    answers = _answers(server.port, [asked + _get("/healthz") * 500])
    assert answers.count(b"HTTP/1.1 200 OK") == 1 and b"connection: close" in answers
    assert server.get("/healthz")[0] == 200


def test_very_many_parameters_are_refused(server: Server) -> None:
    status, _, body = server.get("/v1/search?q=a" + "&k=1" * 1000)
    assert status == 422 and b"64" in body
