"""Run work on resources in parallel, each after the resources it depends on."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from llmlab.infra.resource import Resource

T = TypeVar("T")
THREADS = 24


def in_order(resources: Sequence[Resource], work: Callable[[Resource], T], *, reverse: bool = False) -> dict[str, T]:
    """Run `work` on every resource in parallel, dependencies first (or last, with `reverse`).

    After a failure (or Ctrl-C) nothing that depends on the failed resource is started; forward, nothing new at all. Running work is
    waited for, and the first failure is raised.

    Returns:
        What `work` returned, by resource key, in the order of the list.
    """
    waiting = waits_for(resources, reverse=reverse)
    by_key = {resource.key: resource for resource in resources}
    done: dict[str, T] = {}
    failures: list[BaseException] = []
    running: dict[Future[T], str] = {}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="lab") as pool:
        try:
            while True:
                if reverse or not failures:
                    for key in [key for key, needs in waiting.items() if needs <= done.keys()]:
                        del waiting[key]
                        running[pool.submit(work, by_key[key])] = key
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    key = running.pop(future)
                    error = future.exception()
                    if error is None:
                        done[key] = future.result()
                    else:
                        failures.append(error)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        raise failures[0]
    return {key: done[key] for key in by_key}


def waits_for(resources: Sequence[Resource], *, reverse: bool = False) -> dict[str, set[str]]:
    """For each resource key the keys that must be done before it. Dependencies outside the list are not waited for."""
    keys = {resource.key for resource in resources}
    if len(keys) < len(resources):
        raise ValueError("two resources have the same kind and name")
    needs: Mapping[str, set[str]] = {
        resource.key: {dependency.key for dependency in resource.dependencies() if dependency.key in keys} for resource in resources
    }
    if not reverse:
        return dict(needs)
    return {key: {other for other, wanted in needs.items() if key in wanted} for key in needs}
