"""One process of several, started by test_encoders_parallel.py: `steps` or `train`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch
from one_step import gradients
from safetensors.torch import save_file

from omnisearch.cli.common import fail
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.config import Config
from omnisearch.encoders.training.parallel import joined
from omnisearch.encoders.training.prepare import prepare
from omnisearch.encoders.training.run import train


def steps(root: str, folder: str, configs: str) -> None:
    """Write this process' gradients of a step under each config."""
    workspace = Workspace.open(root)
    with joined() as group:
        for number, values in enumerate(json.loads(configs)):
            config = Config(**values)
            prepared = prepare(workspace, open_catalogue(workspace.catalogue), config, None)
            found = gradients(prepared, config, group=group)
            save_file(found, Path(folder) / f"{number}-{group.rank}.safetensors")


def training(root: str, log: str, config: str) -> None:
    """Train with --resume; the first process logs its losses."""
    workspace = Workspace.open(root)

    def on_step(report) -> None:
        with Path(log).open("a") as file:
            file.write(json.dumps([report.step, report.loss]) + "\n")
        time.sleep(0.02)  # so that there is time to kill

    db = open_catalogue(workspace.catalogue)
    train(workspace, db, Config(**json.loads(config)), resume=True, on_step=on_step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        {"steps": steps, "train": training}[sys.argv[1]](*sys.argv[2:])
    except OmniError as error:
        sys.exit(fail(error, f"process {os.environ['RANK']}"))
