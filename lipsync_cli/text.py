"""Text that is safe to show and to store."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape whatever could steer a terminal or cannot be stored.

    Control characters, bidirectional overrides and halves of surrogate pairs.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
