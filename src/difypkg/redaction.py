"""Secrets kept out of what is shown."""

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?<=://)[^\s/?#@'\"]*(?:@[^\s/?#@'\"]*)*@")


def redact(text: str) -> str:
    """Blank the user and password of every URL in a text."""
    return _USERINFO.sub("****@", text)
