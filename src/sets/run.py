"""The work of a set through any `concurrent.futures.Executor`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def run_all(items: Sequence[T], work: Callable[[T], R], executor: Executor) -> Iterator[tuple[int, R]]:
    """Yield the place of each item and what its work returned, as it comes.

    What `work` raises is raised here, and so is what interrupts the caller; what has not begun then never does.
    """
    futures = {executor.submit(work, item): place for place, item in enumerate(items)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()
