"""The scripts: what the server does in one step, in Lua, a file each beside their callers."""

from __future__ import annotations

from pathlib import Path

import redis
from redis.commands.core import Script


def text_of(*files: Path) -> str:
    """The text of a script, and before it what it shares with others."""
    return "".join(file.read_text(encoding="utf-8") for file in files)


def script(broker: redis.Redis, *files: Path) -> Script:
    """A script to call; redis-py sends its digest, and its text to a server that lacks it."""
    return broker.register_script(text_of(*files))
