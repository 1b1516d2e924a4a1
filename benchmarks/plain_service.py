"""A straightforward service: FastAPI, PyTorch, rank-bm25 and hnswlib in one process.

    python benchmarks/plain_service.py WORKSPACE --port 8001 [--workers 1]

`GET /search?q=`, `GET /embed?q=` and `POST /embed`, over the same items, tokens, vectors and query
tower as OmniSearch. It is not slowed down on purpose: everything is loaded once, endpoints are
functions that FastAPI runs in threads, graphs and tokens are those of `benchmarks/search.py`. It
lacks a cache, batching across requests, an exported model, an inverted index, deadlines and
rankers. `serve.py` compares it with the service.
"""

from __future__ import annotations

import argparse
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from search import Plain

from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.engine.search import SearchEngine


class Queries(BaseModel):
    queries: list[str]


def create() -> FastAPI:
    """The application for the workspace in OMNISEARCH_WORKSPACE."""
    have: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        workspace = Workspace.open(os.environ["OMNISEARCH_WORKSPACE"])
        have["model"] = load_encoder(workspace)
        have["index"] = Plain(SearchEngine.open(workspace))
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/search")
    def search(q: str, k: int = 20) -> dict[str, Any]:
        vector = have["model"].queries([q])[0]
        return {"query": q, "hits": have["index"].search(q, vector, k)}

    @app.get("/embed")
    def embed(q: str) -> dict[str, Any]:
        return {"query": q, "embedding": have["model"].queries([q])[0].tolist()}

    @app.post("/embed")
    def embed_batch(asked: Queries) -> dict[str, Any]:
        return {"embeddings": have["model"].queries(asked.queries).tolist()}

    @app.get("/ready")
    def ready() -> dict[str, int]:
        return {"pid": os.getpid()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMNISEARCH_WORKSPACE"] = str(options.workspace)
    uvicorn.run(
        "plain_service:create",
        factory=True,
        port=options.port,
        workers=options.workers,
        log_level="warning",
        timeout_keep_alive=75,
        app_dir=str(Path(__file__).parent),
    )


if __name__ == "__main__":
    main()
