"""Work that threads do before its results are needed."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def ahead(function: Callable[[Item], Value], items: Iterable[Item], threads: int) -> Generator[Value, None, None]:
    """``function(item)`` of each item, in order. Each thread is up to two items ahead; with 0 threads nothing is."""
    if threads == 0:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[Value]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def newest(read: Callable[[], Value | None]) -> Iterator[Callable[[], Value | None]]:
    """A function that gives the newest value of ``read``, each once, and None when ``read`` has given None, its end.

    A thread calls ``read`` again and again; a value that nobody asks for until the next one comes is dropped.
    """
    waiting: deque[Value] = deque(maxlen=1)
    changed, ended = threading.Condition(), threading.Event()

    def read_on() -> None:
        try:
            while not ended.is_set() and (value := read()) is not None:
                with changed:
                    waiting.append(value)
                    changed.notify()
        finally:
            with changed:
                ended.set()
                changed.notify()

    def next_value() -> Value | None:
        with changed:
            changed.wait_for(lambda: waiting or ended.is_set())
            return waiting.popleft() if waiting else None

    thread = threading.Thread(target=read_on, daemon=True)
    thread.start()
    try:
        yield next_value
    finally:
        ended.set()
        thread.join()
