"""`python -m lipsync_cli`: the same as the command `lipsync`."""

from __future__ import annotations

from lipsync_cli.cli.main import main

if __name__ == "__main__":
    main()
