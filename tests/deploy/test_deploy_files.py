"""The other files of deploy/: units, nginx, compose, Prometheus and the dashboard."""

from __future__ import annotations

import configparser
import http.server
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omnisearch.cli.main import app
from omnisearch.service.config import ServiceConfig
from omnisearch.service.routes.operations import prometheus
from omnisearch.service.serving.counters import Counters

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
METRIC = re.compile(r"\bomnisearch_\w+")


def unit(path: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[method-assign, assignment]
    found.read(path)
    return found


def is_known(command: str) -> bool:
    """Whether `omnisearch` has the command and the options of a command line."""
    import typer

    words = command.split()
    assert Path(words[0]).name == "omnisearch"
    found = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    options = {name for each in found.params for name in each.opts}
    return set(words[2:]) <= options


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_runs_a_command_that_exists(path: Path) -> None:
    if path.suffix == ".timer":
        assert path.with_suffix(".service") in UNITS and "OnCalendar" in unit(path)["Timer"]
        return
    service = unit(path)["Service"]
    assert is_known(service["ExecStart"]) and service["User"] == "omnisearch"
    for name, value in (
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("CapabilityBoundingSet", ""),
        ("SystemCallFilter", "@system-service"),
    ):
        assert service[name] == value


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for path in UNITS:  # neither the program nor the user need to be on this machine
        text = path.read_text().replace("/opt/omnisearch/bin/omnisearch", "/bin/true")
        text = re.sub(r"(User|Group)=omnisearch", r"\1=root", text)
        (tmp_path / path.name).write_text(text)
    units = [str(tmp_path / path.name) for path in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    for path in units:
        if path.endswith(".service"):
            words = ["systemd-analyze", "security", "--offline=true", "--threshold=30", path]
            rated = subprocess.run(words, capture_output=True, text=True)
            if "not recogni" not in rated.stderr and "unrecognized" not in rated.stderr:
                assert rated.returncode == 0, rated.stdout[-2000:]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the path and the headers; it is what nginx has behind it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, **headers}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx with the snippet, in front of `Echo`; the address of the site."""
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    port = free_port()
    (folder / "shop").mkdir()
    (folder / "shop" / "index.html").write_text("the shop")
    for name in ("omnisearch.conf", "omnisearch-proxy.conf"):
        text = (DEPLOY / "nginx" / name).read_text()
        for here, there in (
            ("127.0.0.1:8000;", f"127.0.0.1:{behind.server_port};"),
            ("127.0.0.1:8080;", f"127.0.0.1:{port};"),
            ("/etc/nginx/", f"{folder}/"),
            ("/var/www/shop", f"{folder}/shop"),
        ):
            text = text.replace(here, there)
        (folder / name).write_text(text)
    kept = " ".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root; daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        "events {}\n"
        f"http {{ access_log off; {kept} include {folder}/omnisearch.conf; }}\n"
    )
    words = [nginx, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]
    tested = subprocess.run([*words, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen(words)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 20
        while ask(f"{url}/index.html")[0] == 0:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
        behind.shutdown()


def ask(url: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
    except OSError:
        return 0, {}, b""


def test_nginx_passes_on_what_the_shop_needs_and_nothing_else(site: str) -> None:
    for path in ("/v1/search?q=a%20b&k=5", "/v1/suggest?q=a", "/pictures/pin/a%2Fb"):
        status, _, body = ask(site + path)
        told = json.loads(body)
        assert status == 200 and told["path"] == path and told["host"] == "127.0.0.1"
        assert len(told["x-request-id"]) == 32
    for path in (
        "/metrics",
        "/v1/status",
        "/v1/experiments",
        "/v1/experiments/a",
        "/v1/items",
        "/v1/items/pin/a",
        "/compare",
        "/docs",
    ):
        assert ask(site + path)[0] == 404, path
    status, headers, body = ask(site + "/")
    assert status == 200 and body == b"the shop"
    assert "default-src 'self'" in headers["Content-Security-Policy"]


def test_nginx_holds_back_who_asks_too_often(site: str) -> None:
    host, port = site.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        one = f"GET /v1/feedback HTTP/1.1\r\nHost: {host}\r\n\r\n"
        client.sendall(300 * one.encode())  # at once, however busy the machine is
        answers = client.makefile("rb")
        statuses = []
        while len(statuses) < 300 and (line := answers.readline()):
            if line.startswith(b"HTTP/1.1 "):
                statuses.append(int(line.split()[1]))
    assert set(statuses) == {200, 429} and statuses[:20] == [200] * 20
    assert ask(site + "/")[0] == 200


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_publishes_on_loopback_only_and_agrees_with_the_settings() -> None:
    services = compose()["services"]
    assert set(services) == {"omnisearch", "refresh", "redis", "prometheus", "grafana"}
    for service in services.values():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            exists = (DEPLOY / source).exists() if source.startswith(".") else None
            assert exists or source in compose()["volumes"]
    ours = services["omnisearch"]
    assert ours["read_only"] and ours["cap_drop"] == ["ALL"]
    values = {
        name.removeprefix("OMNISEARCH_SERVICE_").lower(): value
        for name, value in ours["environment"].items()
        if name.startswith("OMNISEARCH_SERVICE_")
    }
    typed = {name: type(getattr(ServiceConfig(), name))(value) for name, value in values.items()}
    config = ServiceConfig(host="0.0.0.0", **typed)
    # Prometheus and visitors of this machine are answered; another site's name is not.
    assert config.allowed_hosts == {"127.0.0.1", "::1", "localhost", "omnisearch"}
    assert ours["ports"] == [f"127.0.0.1:8000:{ServiceConfig().port}"]
    redis = ours["environment"]["OMNISEARCH_CACHE_URL"]
    assert redis.startswith("redis://redis:") and services["redis"]["command"][0] == "redis-server"
    build = ours["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"


def served_metrics(folder: Path) -> set[str]:
    """The names of all metrics, as a service with an updater has them."""
    counters = Counters(Counters.make(1, folder), 1, 0)
    counters.put("pid", 1)
    counters.put("updater_pid", 1)
    for endpoint in range(2):
        counters.observe(endpoint, 200, 0.01)
    return set(METRIC.findall(prometheus(counters)))


def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are(tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "grafana/dashboards/omnisearch.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {name for expression in asked for name in METRIC.findall(expression)}
    assert len(named) > 20 and named <= served_metrics(tmp_path)
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_prometheus_and_grafana_find_each_other() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    services = compose()["services"]
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"omnisearch:{ServiceConfig().port}"]
    assert all((DEPLOY / "prometheus" / name).exists() for name in config["rule_files"])
    folder = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services
    (provider,) = yaml.safe_load((folder / "dashboards/omnisearch.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in services["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted
    board = json.loads((DEPLOY / "grafana/dashboards/omnisearch.json").read_text())
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}


def test_promtool_takes_the_configuration() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    for words in (["config", "prometheus.yml"], ["rules", "alerts.yml"]):
        command = ["promtool", "check", words[0], str(DEPLOY / "prometheus" / words[1])]
        assert subprocess.run(command, capture_output=True).returncode == 0
