"""What each address answers, asked of a real server."""

from __future__ import annotations

import json
from urllib.parse import quote

import numpy as np
import orjson
import pytest
from server_process import Server

from omnisearch.data.workspace import Workspace


def test_a_search_answers_with_hits_related_queries_and_its_generation(server: Server) -> None:
    found = server.json("/v1/search?q=boho+bedroom&k=5")
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4, 5]
    assert found["generation"] == 1 and found["degraded"] == [] and found["request_id"]
    assert {"query", "related", "total", "took_ms", "page", "system"} <= set(found)


def test_a_search_says_how_many_items_match_and_facets_count_these(server: Server) -> None:
    found = server.json("/v1/search?q=dress&facets=brand")
    assert 0 < found["matching"] != found["total"]
    for each in found["facets"][0]["values"]:
        kept = server.json(f"/v1/search?q=dress&filter={quote(each['filter'])}")
        assert kept["matching"] == each["count"]
    assert server.json("/v1/search?q=qqqzzz")["matching"] == 0


def test_pages_neither_repeat_nor_lose_results(server: Server) -> None:
    whole = [hit["id"] for hit in server.json("/v1/search?q=dress&k=20")["hits"]]
    pages = [server.json(f"/v1/search?q=dress&k=10&page={page}")["hits"] for page in (1, 2)]
    assert [hit["id"] for page in pages for hit in page] == whole


def test_filters_reach_the_engine(server: Server) -> None:
    found = server.json("/v1/search?q=dress&entity=product&price_max=300&ads=false&explain=true")
    assert found["hits"]
    for hit in found["hits"]:
        assert hit["entity"] == "product" and hit["price"] <= 300 and not hit["is_ad"]
        assert hit["explain"]["sources"]


def test_a_caller_may_say_the_language_of_the_query(server: Server) -> None:
    said = server.json("/v1/search?q=dress&query_language=de-AT")
    assert (said["language"], said["language_source"]) == ("de", "caller")
    unknown = server.json("/v1/search?q=xl")
    assert (unknown["language"], unknown["language_source"]) == (None, None)
    status, _, body = server.get("/v1/search?q=dress&query_language=german")
    assert status == 422 and json.loads(body)["error"]["where"] == "query_language"
    status, _, body = server.get("/v1/search?q=dress&language=german")  # of the items
    assert status == 422 and "Give a code such as de" in json.loads(body)["error"]["how"]


def test_one_embedding_is_a_unit_vector_and_cached_the_second_time(server: Server) -> None:
    first = server.json("/v1/embed?q=a+query+nobody+asked")
    second = server.json("/v1/embed?q=a+query+nobody+asked")
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["embedding"] == second["embedding"] and len(first["embedding"]) == first["dim"]
    assert np.linalg.norm(first["embedding"]) == pytest.approx(1, abs=1e-3)


def test_a_batch_as_json_and_as_float16_rows_say_the_same(server: Server) -> None:
    queries = ["boho bedroom", "lamp", "boho bedroom"]
    status, _, body = server.post("/v1/embed", {"queries": queries})
    found = json.loads(body)
    assert status == 200 and (found["count"], len(found["embeddings"])) == (3, 3)
    status, headers, body = server.post(
        "/v1/embed",
        "\n".join(queries).encode(),
        **{"Content-Type": "text/plain", "Accept": "application/octet-stream"},
    )
    shape = int(headers["x-count"]), int(headers["x-dim"])
    rows = np.frombuffer(body, "<f2").reshape(shape)
    assert status == 200 and headers["x-checkpoint"] == found["checkpoint"]
    assert np.allclose(rows, found["embeddings"], atol=1e-3)
    assert (rows[0] == rows[2]).all()


def test_related_queries(server: Server) -> None:
    found = server.json("/v1/related?q=boho+bedroom&k=3")
    assert len(found["related"]) == 3 and found["degraded"] == []


def test_items_like_an_item_leave_it_out(server: Server) -> None:
    hit = server.json("/v1/search?q=dress&k=1&entity=pin")["hits"][0]
    found = server.json(f"/v1/similar?entity=pin&id={quote(hit['id'])}&k=5")
    assert len(found["hits"]) == 5 and hit["id"] not in {like["id"] for like in found["hits"]}
    scores = [like["score"] for like in found["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_two_systems_side_by_side(server: Server) -> None:
    found = server.json("/v1/compare?q=boho+bedroom&a=token&b=full&k=4")
    assert [column["system"] for column in found["columns"]] == ["token", "full"]
    assert all(len(column["hits"]) <= 4 for column in found["columns"])
    assert server.json("/v1/compare?q=dress&a=full&b=full")["columns"]


def test_status_tells_what_is_served(server: Server) -> None:
    server.json("/v1/search?q=dress")
    found = server.json("/v1/status")
    assert found["generation"] == 1 and found["items"]["pin"] > 0
    assert found["latency"]["search"]["requests"] > 0 and found["workers"][0]["ready"]


def test_probes_and_metrics(server: Server) -> None:
    assert server.get("/healthz")[0] == server.get("/readyz")[0] == 200
    server.json("/v1/search?q=dress")
    text = server.get("/metrics")[2].decode()
    assert 'omnisearch_requests_total{endpoint="search",status="200"}' in text
    assert 'omnisearch_request_seconds_bucket{endpoint="search",le="+Inf"}' in text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/search", 422),
        ("/v1/search?q=", 422),
        ("/v1/search?q=%20%20", 422),
        ("/v1/search?q=dress&k=0", 422),
        ("/v1/search?q=dress&system=none", 422),
        ("/v1/search?q=dress&price_min=9&price_max=1", 422),
        ("/v1/search?q=dress&price_min=nan", 422),
        ("/v1/embed?q=", 422),
        ("/v1/embed?q=%00", 422),
        ("/v1/similar?entity=pin&id=nothing", 404),
        ("/v1/similar?entity=query&id=lamp", 422),
        ("/v1/nothing", 404),
        ("/v1/search/", 404),
    ],
)
def test_what_cannot_be_answered_says_what_where_and_how(
    server: Server, path: str, status: int
) -> None:
    found, headers, body = server.get(path)
    assert found == status and headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error["what"] and {"where", "how"} <= set(error)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/v1/search", "The query is missing."),
        ("/v1/search?q=", "The query is empty."),
        ("/v1/search?q=%20", "The query is empty."),
        ("/v1/search?q=dress&k=zwei", "k must be a whole number."),
        ("/v1/search?q=dress&k=0", "k must be at least 1."),
        ("/v1/search?q=dress&page=10001", "page must be at most 10000."),
        ("/v1/search?q=dress&price_min=nan", "price_min must be a finite number."),
        ("/v1/search?q=dress&price_min=low", "price_min must be a number."),
        ("/v1/search?q=dress&ads=some", "ads must be true or false."),
        ("/v1/search?q=dress&entity=board", "entity must be 'pin' or 'product'."),
        ("/v1/search?q=dress&user=", "user is empty."),
        ("/v1/search?q=dress&device=X", "device must match ^[a-z]{2,12}$."),
        (f"/v1/search?q={'a' * 4097}", "The query may have at most 4096 characters."),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said_in_a_sentence(
    server: Server, path: str, what: str
) -> None:
    assert json.loads(server.get(path)[2])["error"]["what"] == what


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("embed", b"[]", "The body must be a JSON object."),
        ("embed", b'{"queries": "lamp"}', "queries must be a list."),
        ("embed", b'{"queries": []}', "queries is empty."),
        ("embed", b'{"queries": ["a", ""]}', "queries 1 is empty."),
        ("feedback", b'{"events": [], "x": 1}', "events is empty."),
        ("feedback", b'{"events": [{}]}', "events 0 event_id is missing."),
        ("judgments", b'{"judgments": [], "x": 1}', "judgments is empty."),
    ],
)
def test_what_is_wrong_with_a_body_is_said_in_a_sentence(
    server: Server, path: str, body: bytes, what: str
) -> None:
    answer = server.post(f"/v1/{path}", body, **{"Content-Type": "application/json"})[2]
    error = json.loads(answer)["error"]
    assert error["what"] == error["fields"][0]["what"] == what


def test_a_body_of_another_type_is_told_to_be_json(server: Server) -> None:
    status, _, answer = server.post("/v1/feedback", b'{"events": []}', **{"Content-Type": "x/y"})
    what = "The body must be a JSON object, sent with Content-Type: application/json."
    assert status == 422 and json.loads(answer)["error"]["what"] == what


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"queries": []}', "application/json", 422),
        (b'{"queries": [""]}', "application/json", 422),
        (b'{"queries": [1]}', "application/json", 422),
        (b'{"queries": ["\\ud800"]}', "application/json", 400),
        (b'{"queries": ["\xff"]}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b"lamp\n\nrug", "text/plain", 422),
        (b"\xff\xfe", "text/plain", 400),
        (b"", "text/plain", 422),
    ],
)
def test_a_batch_that_cannot_be_read(server: Server, body: bytes, kind: str, status: int) -> None:
    found, _, answer = server.post("/v1/embed", body, **{"Content-Type": kind})
    assert found == status, answer


@pytest.mark.parametrize("query", ["%ff%fe", "%F0%9F%9B%8B", "沙发", "%ed%a0%80", "a%00b", "%25"])
def test_any_bytes_as_a_query_get_an_answer(server: Server, query: str) -> None:
    for path in ("search", "embed", "related"):
        assert server.get(f"/v1/{path}?q={quote(query, safe='%')}")[0] in (200, 422)


def test_every_answer_carries_the_security_headers_and_an_id(server: Server) -> None:
    for path in ("/healthz", "/v1/search?q=dress", "/v1/embed?q=dress", "/v1/nothing"):
        headers = server.get(path)[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-request-id"] and "access-control-allow-origin" not in headers


def test_a_request_id_is_taken_over_where_it_is_harmless(server: Server) -> None:
    assert server.get("/healthz", **{"X-Request-Id": "abc-1"})[1]["x-request-id"] == "abc-1"
    assert server.get("/healthz", **{"X-Request-Id": "a b"})[1]["x-request-id"] != "a b"


def test_a_misspelt_query_answers_as_the_one_that_items_have(server: Server) -> None:
    right = server.json("/v1/search?q=boho+bedroom&k=5")
    found = server.json("/v1/search?q=bohoo+bedrom&k=5")
    assert (found["query"], found["searched"]) == ("bohoo bedrom", "boho bedroom")
    assert found["cached"]  # its embedding is that of what is searched
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in right["hits"]]
    assert right["searched"] == right["query"] and any("boho bedroom" in n for n in found["notes"])


@pytest.mark.parametrize(
    "path, named, helped",
    [
        ("/v1/search?q=dress&min_price=3", "min_price", "Did you mean price_min?"),
        ("/v1/search?q=dress&max_price=3", "max_price", "Did you mean price_max?"),
        ("/v1/search?q=dress&sytem=token", "sytem", "Did you mean system?"),
        ("/v1/embed?q=dress&k=3", "k", "The parameters are q."),
        ("/v1/related?q=dress&page=2", "page", "The parameters are q, k, deadline_ms."),
        ("/v1/similar?entity=pin&id=x&explain=true", "explain", "The parameters are entity"),
        ("/v1/status?verbose=1", "verbose", "It takes none."),
    ],
)
def test_unknown_parameters_are_refused_by_name(
    server: Server, path: str, named: str, helped: str
) -> None:
    status, _, body = server.get(path)
    error = orjson.loads(body)["error"]
    assert status == 422 and error["what"] == f"There is no parameter '{named}'."
    assert error["where"] == f"query {named}" and helped in error["how"]


def test_a_parameter_that_is_given_twice_is_refused(server: Server) -> None:
    status, _, body = server.get("/v1/search?q=dress&q=rug")
    assert status == 422 and orjson.loads(body)["error"]["what"] == "q is given more than once."


def test_no_path_is_told_when_the_catalogue_is_unusable(served: Workspace) -> None:
    with Server(served.root) as server:
        served.catalogue.unlink()
        for content in (None, b"SQLite format 3\0" + b"\xff" * 5000, b""):
            if content is not None:
                served.catalogue.write_bytes(content)
            status, headers, body = server.get("/v1/status")
            assert status == 503 and "retry-after" in headers, body
            assert str(served.root).encode() not in body and b"catalogue.db" not in body
        assert server.get("/v1/search?q=sofa")[0] == 200
