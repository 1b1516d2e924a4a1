"""deploy/cluster: the nodes, the services and the balancer know each other."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pytest
import typer

from omnisearch.cli.main import app
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.pipeline.encoding_runners import RUNNERS
from omnisearch.service.config import ServiceConfig

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
FOLDER = Path(__file__).parents[2] / "deploy/cluster"


def takes(words: list[str]) -> None:
    """There is such a command with such options."""
    command, *options = words
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    names = {name for each in known.params for name in each.opts}
    assert {option for option in options if option.startswith("-")} <= names


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
        takes(container["args"])
        assert {each["name"] for each in container["volumeMounts"]} <= {
            each["name"] for each in pod["volumes"]
        }
    claimed = {
        volume.get("persistentVolumeClaim", {}).get("claimName") for volume in job["volumes"]
    }
    assert kinds["PersistentVolumeClaim"]["metadata"]["name"] in claimed


def test_the_ray_job_encodes_a_data_set_with_the_workspace_of_the_services() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    program, *words = shlex.split(spec["entrypoint"])
    assert program == "omnisearch" and words[0] == "encode"
    takes(words)
    assert words[words.index("--runner") + 1] == "ray" and "ray" in RUNNERS
    for url in (words[1], words[words.index("--out") + 1]):
        assert urlsplit(url).scheme in fsspec.available_protocols()
    assert spec["shutdownAfterJobFinishes"]
    cluster = spec["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    claims = {
        each["metadata"]["name"]
        for each in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
        if each["kind"] == "PersistentVolumeClaim"
    }
    images, claimed = set(), set()
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        images.add(container["image"])
        mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounted.keys() <= {each["name"] for each in pod["volumes"]}
        claimed |= {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"]}
        values = {each["name"]: each["value"] for each in container["env"]}
        assert values["OMNISEARCH_WORKSPACE"].startswith(f"{mounted['workspace']}/")
        assert container["resources"]["limits"]["cpu"].isdecimal()  # the tasks that it is given
    assert len(images) == 1 and claimed == claims
    # The head gives out tasks, and has no part in them.
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    least = re.search(r"ray>=([\d.]+)", (FOLDER.parents[1] / "pyproject.toml").read_text())
    assert least is not None
    named, needed = (
        [int(part) for part in version.split(".")] for version in (cluster["rayVersion"], least[1])
    )
    assert named >= needed
