"""The decoding thread: order, errors and an early end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.media.ahead import ahead


def counting(n: int, seen: list[int], closed: list[str]) -> Iterator[int]:
    try:
        for i in range(n):
            seen.append(i)
            yield i
    finally:
        closed.append(threading.current_thread().name)


def test_items_keep_their_order() -> None:
    assert list(ahead(iter(range(1000)), depth=3)) == list(range(1000))


def test_no_more_than_the_depth_is_made_in_advance() -> None:
    seen: list[int] = []
    items = ahead(counting(100, seen, []), depth=4)
    assert next(items) == 0
    items.close()
    assert len(seen) <= 1 + 4 + 1


def test_an_early_end_closes_the_source_in_its_own_thread() -> None:
    closed: list[str] = []
    items = ahead(counting(10**9, [], closed), depth=4)
    next(items)
    items.close()
    assert closed == ["lipsync-ahead"]
    assert not any(t.name == "lipsync-ahead" for t in threading.enumerate())


def test_errors_come_after_the_items_before_them() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise UnreadableMedia("damaged", path="a.mp4")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(UnreadableMedia, match="damaged"):
        next(items)
