"""Where a cluster is, and how its collections are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import check_origin, check_ranges, load_section


@dataclass(frozen=True)
class ClusterConfig:
    """The `[cluster]` table of `omnisearch.toml`.

    Attributes:
        urls: of the nodes' HTTP ports, separated by spaces, such as http://10.0.0.1:6333; the gRPC
            port of each is the next one, as by Qdrant's defaults.
        name: what the names of this workspace's collections begin with.
        api_key: of the nodes, if they ask for one; better given by the environment variable
            OMNISEARCH_CLUSTER_API_KEY.
        shards: of each collection; 0 for one on each node, if there are half a million items for
            each, and fewer otherwise.
        replicas: how many nodes have each shard.
        int8: search vectors in 8 bits, and score what is found with the exact ones.
        timeout: seconds that a search waits for a node, if the request has so much time; after a
            quarter of that another is asked as well.
        load_timeout: seconds that a build waits for one step of a node.
    """

    urls: str = ""
    name: str = "omnisearch"
    api_key: str = field(default="", repr=False)
    shards: int = 0
    replicas: int = 1
    int8: bool = False
    timeout: float = 1.0
    load_timeout: float = 600.0

    def __post_init__(self) -> None:
        for url in self.nodes:
            check_origin(url, "[cluster] urls")
            if urlsplit(url).port is None:
                raise InputError(
                    f"{url!r} has no port.", where="[cluster] urls", how="Qdrant's is 6333."
                )
        if not self.name.replace("-", "").replace("_", "").isalnum() or not self.name.isascii():
            raise InputError(
                f"{self.name!r} is no name for collections.",
                where="[cluster] name",
                how="Use letters, digits, - and _.",
            )
        ranges: dict[str, tuple[float, float]] = {
            "shards": (0, 1024),
            "replicas": (1, 64),
            "timeout": (0.01, 600),
            "load_timeout": (1, 86_400),
        }
        check_ranges("cluster", vars(self), ranges)

    @property
    def nodes(self) -> list[str]:
        """The URLs, each once."""
        return list(dict.fromkeys(self.urls.split()))


def cluster_config(workspace: Workspace, **options: object) -> ClusterConfig:
    """The settings of a workspace: defaults, `omnisearch.toml`, environment, then `options`."""
    return load_section("cluster", ClusterConfig(), workspace.settings, options)
