"""deploy/cluster: the nodes, the services and the balancer know each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from omnisearch.cli.main import app
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.service.config import ServiceConfig

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
FOLDER = Path(__file__).parents[2] / "deploy/cluster"


def test_services_know_the_nodes_and_only_the_balancer_is_published() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services = compose["services"]
    published = {name: each["ports"] for name, each in services.items() if "ports" in each}
    assert published == {"balancer": ["127.0.0.1:8000:8000"]}
    ours = [each for each in services.values() if each.get("image") == "omnisearch"]
    assert len(ours) == 3 and all(each["read_only"] for each in ours)
    for each in ours:
        values = each["environment"]
        config = ClusterConfig(
            urls=values["OMNISEARCH_CLUSTER_URLS"],
            replicas=int(values["OMNISEARCH_CLUSTER_REPLICAS"]),
        )
        assert config.nodes == [f"http://qdrant-{number}:6333" for number in (1, 2, 3)]
        assert 1 < config.replicas <= len(config.nodes)
        assert values["OMNISEARCH_INDEX_BACKEND"] == "qdrant"
    for number in (1, 2, 3):
        words = services[f"qdrant-{number}"]["command"]
        assert words[1:3] == ["--uri", f"http://qdrant-{number}:6335"]
        joins = [] if number == 1 else ["--bootstrap", "http://qdrant-1:6335"]
        assert words[3:] == joins
    named = re.findall(r"server (service-\d):(\d+)", (FOLDER / "balancer.conf").read_text())
    assert named == [(f"service-{number}", str(ServiceConfig().port)) for number in (1, 2)]
    assert {name for name, _ in named} <= set(services)


def test_nginx_takes_the_balancer(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    text = (FOLDER / "balancer.conf").read_text()
    text = re.sub(r"service-\d", "127.0.0.1", text).replace("listen 8000", "listen 127.0.0.1:18999")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {text} }}"
    )
    done = subprocess.run(
        [nginx, "-t", "-q", "-c", f"{tmp_path}/nginx.conf"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_kubernetes_runs_commands_that_there_are_with_settings_that_there_are() -> None:
    kinds = {}
    for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()):
        kinds[each["kind"]] = each
    values = kinds["ConfigMap"]["data"]
    values = {
        name.removeprefix("OMNISEARCH_CLUSTER_").lower(): text for name, text in values.items()
    }
    nodes = ClusterConfig(urls=values["urls"], replicas=int(values["replicas"])).nodes
    chart = yaml.safe_load((FOLDER / "qdrant-values.yaml").read_text())
    assert len(nodes) == chart["replicaCount"] and chart["config"]["telemetry_disabled"]
    job = kinds["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for pod in (kinds["Deployment"]["spec"]["template"]["spec"], job):
        (container,) = pod["containers"]
        command, *options = container["args"]
        known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
        names = {name for each in known.params for name in each.opts}
        assert {option for option in options if option.startswith("-")} <= names
        assert {each["name"] for each in container["volumeMounts"]} <= {
            each["name"] for each in pod["volumes"]
        }
    claimed = {
        volume.get("persistentVolumeClaim", {}).get("claimName") for volume in job["volumes"]
    }
    assert kinds["PersistentVolumeClaim"]["metadata"]["name"] in claimed
