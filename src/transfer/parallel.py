"""Generators side by side in threads, their results in one stream."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

_JOIN_SECONDS: Final = 1.0

T = TypeVar("T")
E = TypeVar("E")


def parallel(
    work: Callable[[T], Generator[E, None, None]], items: Sequence[T], jobs: int, *, on_stop: Callable[[], None]
) -> Generator[E, None, None]:
    """Yield what the generators `work(item)` yield, as it comes, from `jobs` threads.

    The first error ends them all and is raised here; so does closing this generator. Each is then closed at its next
    `yield`, and `on_stop` is called to wake those that wait for the network. The threads are daemons: one stuck in a
    system call does not hold up Ctrl-C for longer than a second.
    """
    todo: SimpleQueue[T] = SimpleQueue()
    events: SimpleQueue[tuple[E] | BaseException | None] = SimpleQueue()  # a result, an error, or an item's end
    stop = threading.Event()
    for item in items:
        todo.put(item)
    threads = [
        threading.Thread(target=_run, args=(work, todo, events, stop), daemon=True)
        for _ in range(min(jobs, len(items)))
    ]
    left = len(items)
    try:
        for thread in threads:
            thread.start()
        while left:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                left -= 1
            else:
                yield event[0]
    finally:
        stop.set()
        if left:
            on_stop()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))


def _run(
    work: Callable[[T], Generator[E, None, None]],
    todo: SimpleQueue[T],
    events: SimpleQueue[tuple[E] | BaseException | None],
    stop: threading.Event,
) -> None:
    try:
        while not stop.is_set():
            with closing(work(todo.get_nowait())) as results:
                for result in results:
                    events.put((result,))
                    if stop.is_set():
                        return
            events.put(None)
    except Empty:
        pass
    except BaseException as error:
        events.put(error)
