"""API keys: the file, their scopes, and that a running service follows the file."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_process import Server

from omnisearch.cli.main import app
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.service.config import ServiceConfig
from omnisearch.service.gate.keys import Keys
from omnisearch.service.key_files import SCOPES, keys_and_faults, new_key, read_keys

EVENT = {"event_id": "1", "query": "lamp", "entity": "pin", "id": "p", "action": "click"}
JUDGMENT = {"query": "lamp", "entity": "pin", "id": "p", "grade": 1}
ITEM = {"entity": "product", "id": "new", "title": "b"}
# What needs each scope.
ASKED: dict[str, tuple[str, Any]] = {
    "search": ("/v1/search?q=dress", None),
    "feedback": ("/v1/feedback", {"events": [EVENT]}),
    "judge": ("/v1/judgments", {"judgments": [JUDGMENT]}),
    "write": ("/v1/items", {"items": [ITEM]}),
}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(server: Server, scope: str, key: str) -> tuple[int, dict[str, Any]]:
    path, body = ASKED[scope]
    found = (
        server.get(path, **bearer(key)) if body is None else server.post(path, body, **bearer(key))
    )
    return found[0], json.loads(found[2])


@pytest.fixture(scope="module")
def keyed(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service of two workers, its file of keys, and a key of each scope."""
    import shutil

    folder = tmp_path_factory.mktemp("keyed")
    shutil.copytree(trained.root, folder / "workspace")
    path = folder / "keys"
    keys = {scope: new_key(path, f"may-{scope}", [scope]) for scope in SCOPES}
    with Server(folder / "workspace", "--api-keys", path, "--workers", 2) as server:
        yield server, path, keys


def test_a_key_may_what_its_scopes_say_and_nothing_else(keyed: Any) -> None:
    server, _, keys = keyed
    for may, key in keys.items():
        for scope in SCOPES:
            status, body = ask(server, scope, key)
            if scope == may:
                assert status == 200, body
            else:
                assert status == 403 and f"lacks the scope {scope}" in body["error"]["what"]
                assert body["error"]["how"].endswith(f"This one has {may}.")
        assert server.get("/v1/status", **bearer(key))[0] == 200
    assert server.get("/v1/search?q=dress")[0] == 401
    until = time.monotonic() + 20
    while not {line["key"] for line in server.events("request")} >= {"may-search", "may-judge"}:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_description_names_the_scope_of_each_address(keyed: Any) -> None:
    schema = keyed[0].json("/openapi.json")
    schemes = schema["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer" and schemes["header"]["name"] == "X-API-Key"
    needs = {
        f"{method} {path}": {next(iter(way.values()))[0] for way in operation["security"] if way}
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/v1/")
        and not path.startswith(("/v1/status", "/v1/session", "/v1/experiments"))
    }
    expected = {"post /v1/feedback": "feedback", "post /v1/judgments": "judge"}
    expected |= {"post /v1/items": "write", "delete /v1/items/{entity}/{id}": "write"}
    assert needs == {name: {expected.get(name, "search")} for name in needs}
    writing = schema["paths"]["/v1/items"]["post"]["security"]
    assert [next(iter(way)) for way in writing] == ["bearer", "header"]  # no cookie
    assert schema["paths"]["/healthz"]["get"]["security"] == []
    assert b"needs the scope <code>judge</code>" in keyed[0].get("/docs")[2]


def test_reading_needs_no_key_where_there_are_none(server: Server) -> None:
    schema = server.json("/openapi.json")
    assert schema["paths"]["/v1/search"]["get"]["security"][0] == {}
    assert {} not in schema["paths"]["/v1/items"]["post"]["security"]


def test_new_and_revoked_keys_count_within_seconds_in_every_worker(keyed: Any) -> None:
    server, path, _ = keyed
    before = path.read_text()
    late = new_key(path, "late", ["search"])

    def statuses() -> set[int]:  # each request is a connection of its own: any worker
        return {server.get("/v1/search?q=dress", **bearer(late))[0] for _ in range(8)}

    def wait_for(status: int) -> None:
        until = time.monotonic() + 20
        while statuses() != {status}:
            assert time.monotonic() < until
            time.sleep(0.2)

    wait_for(200)
    path.write_text(before)  # in place, as an editor may
    wait_for(401)
    path.write_text(before + "no digest\n")
    until = time.monotonic() + 20
    while len(server.events("keys_refused")) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert server.events("keys_refused")[0]["where"].endswith("line 5")
    assert ask(server, "search", keyed[2]["search"])[0] == 200  # the others go on working
    path.write_text(before)


def test_a_key_that_may_write_may_come_later(served: Workspace, tmp_path: Path) -> None:
    """The process that publishes items starts with it."""
    search = new_key(tmp_path / "keys", "search", ["search"])
    with Server(served.root, "--api-keys", tmp_path / "keys") as server:
        assert json.loads(server.get("/v1/status", **bearer(search))[2])["updates"] is None
        write = new_key(tmp_path / "keys", "write", ["write"])
        until = time.monotonic() + 30
        while ask(server, "write", write)[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        path = f"/v1/similar?entity=product&id={ITEM['id']}"
        while server.get(path, **bearer(search))[0] == 404:
            assert time.monotonic() < until + 30
            time.sleep(0.2)


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = new_key(path, "a", ["search"])
    told: list[Any] = []
    keys = Keys(ServiceConfig(api_keys=str(path)), lambda *event, **fields: told.append(event))
    whole, header = path.read_text(), {b"authorization": f"Bearer {key}".encode()}
    path.write_text("")  # as an editor begins
    keys.look()
    path.write_text(whole)
    keys.look()
    keys.look()
    assert keys.admit(header, "search") == "a" and told == [("keys",)]
    path.unlink()
    keys.look()
    keys.look()
    assert keys.admit(header, "search") is None  # what is gone is revoked


def test_lines_of_sha256_alone_have_the_scopes_of_their_file(tmp_path: Path) -> None:
    lines = [sha256(word.encode()).hexdigest() for word in ("read", "write")]
    (tmp_path / "readers").write_text(f"{lines[0]}  -\n{lines[1]}\n")
    (tmp_path / "writers").write_text(lines[1])
    paths = {"api_keys": str(tmp_path / "readers"), "write_keys": str(tmp_path / "writers")}
    keys = Keys(ServiceConfig(**paths))  # type: ignore[arg-type]
    for word, scopes in (("read", {"search", "feedback", "judge"}), ("write", set(SCOPES))):
        for scope in scopes:
            assert (
                keys.admit({b"x-api-key": word.encode()}, scope)
                == sha256(word.encode()).hexdigest()[:12]
            )


def test_a_new_key_is_printed_once_and_its_file_is_the_owners(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    path = tmp_path / "keys"
    path.write_text("# ours")  # without a line end
    path.chmod(0o640)
    run = CliRunner().invoke
    options = ("--file", str(path), "--scopes", "search, judge")
    done = run(app, ["keys", "new", "one", *options])
    key = done.stdout.strip()
    assert done.exit_code == 0 and key not in path.read_text()
    assert path.read_text() == f"# ours\n{sha256(key.encode()).hexdigest()}  one  search,judge\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for words, fault in (
        (["one", "--file", str(path)], "There is a key of the name"),
        (["two", "--file", str(path), "--scopes", "read"], "There is no scope 'read'"),
        (["two", "--file", str(path), "--scopes", ","], "No scope is given"),
        (["a b", "--file", str(path)], "is not a name"),
        (["two", "-w", str(tmp_path)], "No file of API keys is given"),
    ):
        refused = run(app, ["keys", "new", *words])
        assert isinstance(refused.exception, InputError) and fault in refused.exception.what
    new_key(tmp_path / "new", "one", ["search"])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line", ["abc", "0" * 64 + "  name", "0" * 64 + " n all", "0" * 64 + " / search"]
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"{'1' * 64}\n{line}\n")
    with pytest.raises(InputError) as refused:
        read_keys(str(tmp_path / "keys"))
    assert refused.value.where.endswith("keys line 2") and refused.value.how


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_file_is_keys_or_faults(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-keys"
    path.write_bytes(content)
    keys, faults = keys_and_faults(str(path), frozenset({"search"}))
    assert all(len(key.digest) == 32 and key.scopes <= set(SCOPES) for key in keys)
    assert all(fault.what and fault.where for fault in faults)
