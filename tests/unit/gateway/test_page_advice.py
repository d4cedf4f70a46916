"""The page knows what to do about every error code."""

from __future__ import annotations

import re
from importlib.resources import files

from labelmill.core.errors import ErrorCode

ADVICE = files("labelmill.gateway") / "page" / "advice.js"


def test_there_is_advice_for_every_error_code() -> None:
    advised = re.findall(r"^  (\w+): \"", ADVICE.read_text(), re.MULTILINE)
    assert set(advised) == set(ErrorCode)
