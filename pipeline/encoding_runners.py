"""Who encodes the files of a data set: processes of this machine, or a Ray cluster.

Both are given the same tasks and call the same function. A task whose worker is killed is run
again; what it had finished is found there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from omnisearch.data.workspace.errors import MissingExtra, Unavailable
from omnisearch.pipeline.encoded_file import Done, Task, encode_task

Runner = Callable[[list[Task]], Iterator[tuple[Task, Done]]]
_TRIES = 3  # of workers that end without having finished anything
_LOOPBACK = "127.0.0.1"
_OBJECTS = 100 * 2**20  # bytes that Ray keeps for objects; tasks are names of files
_ENDED = "Look for what ends it (often too little memory: export with more --buckets)."


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_local(tasks: list[Task]) -> Iterator[tuple[Task, Done]]:
    """Encode in a process for each processor; yields tasks as they are done.

    Raises:
        Unavailable: workers end again and again. What the tasks raise.
    """
    left, lost = {task.folder: task for task in tasks}, 0
    while left:
        pool = ProcessPoolExecutor(
            min(cores(), len(left)), mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        try:
            futures = {pool.submit(encode_task, task): task for task in left.values()}
            for future in as_completed(futures):
                found = future.result()
                lost = 0
                yield left.pop(futures[future].folder), found
        except BrokenProcessPool as error:
            lost += 1
            if lost == _TRIES:
                what = "The processes that encode end before they have finished a file."
                raise Unavailable(what, where="--runner local", how=_ENDED) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def run_ray(tasks: list[Task]) -> Iterator[tuple[Task, Done]]:
    """Encode on the cluster that RAY_ADDRESS names, else on a Ray of this machine alone.

    That one listens on the loopback interface only, and ends with the command.

    Raises:
        MissingExtra: Ray is not installed.
        Unavailable: the cluster cannot be reached, or workers end again and again. What the tasks
            raise.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to its makers
    if not os.environ.get("RAY_ADDRESS"):
        # Read when Ray is imported. Else it takes the machine's own address in place of 127.0.0.1,
        # and listens on all interfaces.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        how = "Or use --runner local."
        raise MissingExtra("Ray", "cluster", where="--runner ray", how=how) from error
    try:
        _connect(ray)
        work = ray.remote(num_cpus=1, max_retries=_TRIES)(encode_task)
        left = {work.remote(task): task for task in tasks}
        while left:
            (done, *_), _ = ray.wait(list(left))
            task = left.pop(done)
            yield task, ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except (ray.exceptions.RayError, ConnectionError) as error:
        what = f"Ray gave up: {str(error).strip().splitlines()[0]:.300}"
        raise Unavailable(what, where="--runner ray", how=_ENDED) from error
    finally:
        ray.shutdown()


def _connect(ray: Any) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
        return
    ray.init(
        num_cpus=cores(),
        object_store_memory=_OBJECTS,
        include_dashboard=False,
        _node_ip_address=_LOOPBACK,
        **quiet,
    )
    if ray.util.get_node_ip_address() != _LOOPBACK:
        raise Unavailable(
            "Ray would listen to other machines.",
            where="--runner ray",
            how="Start a Ray of your own and name it by RAY_ADDRESS, or use --runner local.",
        )


RUNNERS: dict[str, Runner] = {"local": run_local, "ray": run_ray}
