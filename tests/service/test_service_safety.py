"""Clients that are not friendly: without a key, too many, too slow, too large, or broken."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import pytest
from server_process import Server

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.service.config import ServiceConfig
from omnisearch.service.gate.guard import Hosts
from omnisearch.service.key_files import read_keys

KEY = "a-long-enough-key"


@pytest.fixture(scope="module")
def guarded(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with a key and tight bounds."""
    import shutil

    folder = tmp_path_factory.mktemp("guarded")
    shutil.copytree(trained.root, folder / "workspace")
    digest = sha256(KEY.encode()).hexdigest()
    (folder / "keys.txt").write_text(f"# ours\n{'0' * 64}\n{digest}  # the pages\n")
    options = ("--api-keys", folder / "keys.txt", "--cors", "https://app.example.com")
    bounds = {
        "HEADER_SECONDS": "1",
        "BODY_SECONDS": "1",
        "WRITE_SECONDS": "1",
        "IDLE_SECONDS": "1",
        "BODY_BYTES": "20000",
        "CONNECTIONS": "300",
    }
    environment = {f"OMNISEARCH_SERVICE_{name}": value for name, value in bounds.items()}
    with Server(folder / "workspace", *options, **environment) as server:
        yield server


def connect(server: Server, data: bytes = b"", timeout: float = 10.0) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
    found.sendall(data)
    return found


def read_all(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def read_answer(stream: BinaryIO) -> tuple[int, bytes]:
    """Status and body of the next answer on a connection that stays open."""
    status, length = int(stream.readline().split()[1]), 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, stream.read(length)


def alive(server: Server) -> bool:
    return server.get("/v1/search?q=dress", Authorization=f"Bearer {KEY}")[0] == 200


def test_without_a_key_nothing_but_probes_and_pages(guarded: Server) -> None:
    for path in (
        "/v1/search?q=dress",
        "/v1/embed?q=dress",
        "/v1/status",
        "/metrics",
        "/pictures/a/b",
    ):
        status, headers, body = guarded.get(path)
        assert status == 401 and headers["www-authenticate"] == "Bearer", path
        assert b"An API key is required." in body
        for wrong in (
            {"Authorization": "Bearer wrong"},
            {"X-API-Key": "wrong"},
            {"Cookie": "omnisearch_key=wrong"},
        ):
            status, _, body = guarded.get(path, **wrong)
            assert status == 401 and b"This API key is not known." in body
    assert guarded.post("/v1/feedback", {"events": []})[0] == 401
    for path in ("/healthz", "/readyz", "/", "/docs", "/assets/docs.css"):
        assert guarded.get(path)[0] == 200


def test_a_key_may_be_shown_in_three_ways(guarded: Server) -> None:
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": KEY},
        {"Cookie": f"a=b; omnisearch_key={KEY}"},
    ):
        assert guarded.get("/v1/embed?q=dress", **headers)[0] == 200
    answer = guarded.post("/v1/session", b"", Authorization=f"Bearer {KEY}")
    cookie = answer[1]["set-cookie"]
    assert answer[0] == 204 and "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert KEY not in guarded.log and sha256(KEY.encode()).hexdigest() not in guarded.log


def test_guessing_keys_is_limited_and_hinders_nobody_with_a_key(served: Workspace) -> None:
    (served.root / "keys.txt").write_text(sha256(KEY.encode()).hexdigest())
    with Server(served.root, "--api-keys", served.root / "keys.txt") as server:
        statuses = []
        with connect(server) as connection:
            answers = connection.makefile("rb")
            for number in range(3_000):
                shown = f"Authorization: Bearer guess-{number}\r\n" if number % 2 else ""
                head = f"GET /v1/search?q=dress HTTP/1.1\r\nHost: localhost\r\n{shown}\r\n"
                connection.sendall(head.encode())
                statuses.append(read_answer(answers)[0])
        assert set(statuses) == {401, 429}
        assert statuses[:50] == [401] * 50 and statuses.count(429) > 2_500
        assert server.get("/v1/status")[1]["retry-after"] == "1"
        assert server.get("/healthz")[0] == server.get("/docs")[0] == 200
        assert alive(server)


@pytest.mark.parametrize("path", ["/v1/search?q=dress", "/v1/status", "/", "/no/such/thing"])
def test_a_name_that_leads_here_is_not_answered(server: Server, path: str) -> None:
    for host, answered in (
        ("rebound.example.com", False),
        (f"rebound.example.com:{server.port}", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("[::1", False),
        (f"LOCALHOST:{server.port}", True),
        (f"[::1]:{server.port}", True),
    ):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        with connect(server, request.encode()) as connection:
            status = int(read_all(connection).split(b" ", 2)[1])
        assert (status == 421) != answered, host
    assert server.get("/healthz")[0] == 200


def test_names_are_those_of_the_settings() -> None:
    keys = "keys.txt"
    assert ServiceConfig().allowed_hosts == {"127.0.0.1", "::1", "localhost"}
    assert ServiceConfig(api_keys=keys).allowed_hosts is None
    assert ServiceConfig(host="0.0.0.0").allowed_hosts is None
    found = ServiceConfig(host="0.0.0.0", api_keys=keys, hosts="Shop.example.com").allowed_hosts
    assert found is not None and "shop.example.com" in found and "other.com" not in found


@pytest.mark.parametrize("name", ["shop.example.com", "search_1.internal", "10.0.0.7", "fe80::1"])
def test_names_and_addresses_may_be_hosts(name: str) -> None:
    config = ServiceConfig(hosts=name)
    host = f"[{name}]:8000" if ":" in name else f"{name}:8000"
    Hosts(config.allowed_hosts).check(host.encode())


@pytest.mark.parametrize(
    "name",
    [
        "https://shop.example.com",
        "a.com:80",
        "shop/",
        "[::1]:80",
        "[::1]",
        "a.com,b.com",
        "*.a.com",
    ],
)
def test_a_name_with_more_than_a_name_is_refused(name: str) -> None:
    """It would never match, and the service would answer nobody."""
    with pytest.raises(InputError, match="not a host name"):
        ServiceConfig(hosts=f"fine.example.com {name}")


def test_only_named_origins_may_read_answers(guarded: Server) -> None:
    mine = {"Origin": "https://app.example.com", "Authorization": f"Bearer {KEY}"}
    headers = guarded.get("/v1/embed?q=dress", **mine)[1]
    assert headers["access-control-allow-origin"] == "https://app.example.com"
    for origin in ("https://evil.example.com", "null", "https://app.example.com.evil"):
        headers = guarded.get("/v1/embed?q=dress", **mine | {"Origin": origin})[1]
        assert "access-control-allow-origin" not in headers


def test_a_body_that_is_too_large_is_refused_whatever_it_says_of_itself(guarded: Server) -> None:
    head = f"POST /v1/feedback HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n"
    head += "Content-Type: application/json\r\n"
    said = connect(guarded, f"{head}Content-Length: 99999999\r\n\r\n".encode())
    assert b" 413 " in read_all(said).split(b"\r\n")[0]
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    unsaid = connect(guarded, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + 4 * chunk)
    assert b" 413 " in read_all(unsaid).split(b"\r\n")[0]
    assert alive(guarded)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/search?q=dress HTTP/1.1\r\nHost: a\r\n",
        b"",
        b"POST /v1/embed HTTP/1.1\r\nHost: a\r\nX-Api-Key: " + KEY.encode() + b"\r\n"
        b"Content-Length: 100\r\n\r\n{",
    ],
)
def test_who_sends_too_slowly_is_let_go(guarded: Server, data: bytes) -> None:
    started = time.monotonic()
    slow = connect(guarded, data)
    answer = read_all(slow)
    assert time.monotonic() - started < 5
    assert answer == b"" or b" 408 " in answer.split(b"\r\n")[0]


def test_a_head_that_drips_is_let_go(guarded: Server) -> None:
    slow, started = connect(guarded, b"GET / HTTP/1.1\r\n"), time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - started < 8:
            slow.sendall(b"X-A: b\r\n")
            time.sleep(0.1)
    assert time.monotonic() - started < 5


def test_who_does_not_read_is_let_go(guarded: Server) -> None:
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect(("127.0.0.1", guarded.port))
    ask = (
        f"GET /v1/search?q=dress&k=200&explain=true HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\n\r\n"
    )
    lazy.settimeout(10)
    started = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - started < 8:
            lazy.sendall(ask.encode())
            time.sleep(0.02)
    assert time.monotonic() - started < 7
    assert alive(guarded)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + b"X-A: " + b"b" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/search?q=" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%ff%fe?q=%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/embed HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/embed HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/embed?q=a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://other/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_no_request_does_no_harm(guarded: Server, data: bytes) -> None:
    connection = connect(guarded)
    with contextlib.suppress(OSError):
        connection.sendall(data)
    answer = read_all(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    if answer:
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert error["what"].endswith(".")
    assert alive(guarded) and not guarded.events("fault")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_that_is_too_large_is_refused_as_one(guarded: Server, at_once: bool) -> None:
    """Also below the size at which the parser gives up, and whether or not it is in one piece."""
    head = b"GET /v1/search?q=" + b"a" * 33_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    connection = connect(guarded, head if at_once else head[:20_000])
    if not at_once:
        time.sleep(0.1)
        connection.sendall(head[20_000:])
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 431 ") and b"32,768 bytes" in answer


def test_too_many_connections_are_refused_and_idle_ones_let_go(guarded: Server) -> None:
    idle = []
    for _ in range(400):
        with contextlib.suppress(OSError):
            idle.append(connect(guarded))
    refused = [c for c in idle[-50:] if b" 503 " in read_all(c).split(b"\r\n")[0]]
    assert refused
    for connection in idle:
        read_all(connection)  # ends: all are let go
        connection.close()
    assert alive(guarded)


def test_a_client_that_asks_too_often_is_told_when_to_come_back(served: Workspace) -> None:
    environment = {"OMNISEARCH_SERVICE_BURST": "20"}
    with Server(served.root, "--rate", 5, **environment) as server:
        answers = [server.get("/v1/embed?q=dress") for _ in range(60)]
        statuses = [status for status, _, _ in answers]
        assert statuses[:15] == [200] * 15 and 429 in statuses
        refused = next(headers for status, headers, _ in answers if status == 429)
        assert int(refused["retry-after"]) >= 1
        assert server.get("/healthz")[0] == 200


def test_the_log_has_no_query_unless_asked_for(served: Workspace) -> None:
    for options, expected in (((), 0), (("--log-queries",), 1)):
        with Server(served.root, *options) as server:
            server.get("/v1/search?q=secretwish")
            server.get("/v1/embed?q=secretwish")
            server.stop()
            assert bool(server.log.count("secretwish")) == bool(expected)
            assert len(server.events("request")) >= 2


def test_a_file_of_keys_may_be_what_sha256sum_prints(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"a key").hexdigest()
    (tmp_path / "keys").write_text(f"{digest}  -\n{digest}  # the shop\n", "utf-8")
    digests = [key.digest for key in read_keys(str(tmp_path / "keys"))]
    assert digests == [bytes.fromhex(digest)] * 2


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for settings in ({"port": 70_000}, {"cors": "*"}, {"image_origins": "https://a.example/x"}):
        with pytest.raises(InputError):
            ServiceConfig(**settings)  # type: ignore[arg-type]
    for text in ("", "# none\n", "abc\n", "a-plain-key\n"):
        (tmp_path / "keys").write_text(text)
        with pytest.raises(InputError):
            read_keys(str(tmp_path / "keys"))
    assert ServiceConfig().client_rate == 0 and ServiceConfig(host="0.0.0.0").client_rate == 100
