"""What fetching a picture may connect to, and for how long."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from typing import ClassVar

import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.enrichment import fetching
from omnisearch.enrichment.fetching import EnrichConfig, is_public, private_origins
from omnisearch.enrichment.pictures import Refused, read_bytes


class _Server(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    target = ""

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.target)
            self.end_headers()
            return
        if self.path == "/drip-head":
            self._drip(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        elif self.path == "/drip-chunk":
            self._drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif self.path == "/drip-body":
            self._drip(b"HTTP/1.0 200 OK\r\n\r\n")
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content")

    def _drip(self, start):
        try:
            self.wfile.write(start)
            for _ in range(100):
                self.wfile.write(b"0")
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    _Server.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def allowed(*origins):
    return EnrichConfig(" ".join(origins)).origins


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0"])
def test_this_machine_is_not_connected_to(server, host):
    url = server.replace("127.0.0.1", host)
    with pytest.raises(Refused, match="no public address"):
        read_bytes(f"{url}/a.png", None)
    assert _Server.asked == []
    assert read_bytes(f"{server}/a.png", None, allowed(server)) == b"content"


def test_a_redirect_does_not_reach_what_is_not_allowed(server):
    _Server.target = server.replace("127.0.0.1", "127.0.0.2") + "/secret"
    with pytest.raises(Refused, match=r"127\.0\.0\.2 has no public address"):
        read_bytes(f"{server}/moved", None, allowed(server))
    assert _Server.asked == ["/moved"]


def test_redirects_end(server):
    _Server.target = f"{server}/moved"
    with pytest.raises(Refused, match="redirect"):
        read_bytes(f"{server}/moved", None, allowed(server))
    assert len(_Server.asked) <= 11


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,x"])
def test_a_redirect_to_another_scheme_is_refused(server, target):
    _Server.target = target
    with pytest.raises(Refused, match="cannot be fetched"):
        read_bytes(f"{server}/moved", None, allowed(server))


def test_the_address_that_was_checked_is_the_one_connected_to(server, monkeypatch):
    """A name that resolves to a public address when checked and to this machine when used."""
    port = int(server.rpartition(":")[2])
    answers = iter([[("93.184.216.34", port)], [("127.0.0.1", port)]])
    tried = []

    def resolve(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in next(answers)]

    def connect(_, address):
        tried.append(address[0])
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(Refused, match="unreachable"):
        read_bytes(f"http://rebinding.example:{port}/a.png", None)
    with pytest.raises(Refused, match="no public address"):
        read_bytes(f"http://rebinding.example:{port}/a.png", None)
    assert tried == ["93.184.216.34"]


@pytest.mark.parametrize("path", ["/drip-head", "/drip-chunk", "/drip-body"])
def test_a_server_that_drips_is_given_up(server, path, monkeypatch):
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(Refused, match="not complete after"):
        read_bytes(server + path, None, allowed(server))
    assert time.monotonic() - start < 2


def test_a_proxy_is_used_only_if_it_is_allowed(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server)
    with pytest.raises(Refused):
        read_bytes("http://169.254.169.254/latest", None)
    assert _Server.asked == []
    assert read_bytes("http://pictures.example/a.png", None, allowed(server)) == b"content"
    assert _Server.asked == ["http://pictures.example/a.png"]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"],
)
def test_addresses_that_are_public(address):
    assert is_public(address)


def test_private_origins_are_origins(tmp_path):
    workspace = Workspace(tmp_path)
    assert private_origins(workspace) == frozenset()
    workspace.settings.write_text('[enrich]\nprivate_origins = "http://a.intern https://b:8443"\n')
    assert private_origins(workspace) == {("a.intern", 80), ("b", 8443)}
    workspace.settings.write_text('[enrich]\nprivate_origins = "10.0.0.1"\n')
    with pytest.raises(InputError, match="not an origin"):
        private_origins(workspace)
