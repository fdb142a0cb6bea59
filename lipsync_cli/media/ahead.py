"""Runs a slow iterator in a thread of its own, a few items ahead of its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int = 16) -> Generator[T, None, None]:
    """Yield `items`, up to `depth` of them made in advance.

    Decoding lets go of the interpreter for most of its time, so it runs beside the models
    instead of before them. Whatever `items` raises is raised here in its place; when the
    consumer stops early, `items` is closed in the thread that ran it.
    """
    line: _Line[T] = _Line(depth)
    worker = threading.Thread(target=line.fill, args=(items,), name="lipsync-ahead", daemon=True)
    worker.start()
    try:
        yield from line.drain()
    finally:
        line.stop()
        worker.join()


class _Line(Generic[T]):
    """A bounded queue that both sides may end."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    def fill(self, items: Iterator[T]) -> None:
        """Run `items` into the queue until either side ends."""
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._error = error
        finally:
            if isinstance(items, Generator):
                items.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def drain(self) -> Iterator[T]:
        """Take items out until there are no more, then raise what `items` raised."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Nobody will take items out any more."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._depth or self._stopped)
            if self._stopped:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
            return True
