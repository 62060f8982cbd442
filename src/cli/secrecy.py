"""The secrets that this process was told, kept out of all that leaves it: lines, documents, reports, crash files."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from ..difypkg.redaction import Secrets, collect_secrets

_T = TypeVar("_T")


@cache
def known_secrets() -> Secrets:
    """Return the secrets in the environment, the arguments, uv's configuration files and netrc."""
    return Secrets(collect_secrets(os.environ, (*sys.argv[1:], *_configuration_texts(os.environ))))


def without_secrets(value: _T) -> _T:
    """Return a value, such as a document, with the secrets out of every text in it."""
    return cast("_T", _clean(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return known_secrets().remove(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _clean(getattr(value, each.name)) for each in fields(value) if each.init})
    if isinstance(value, tuple | list):
        return type(value)(map(_clean, value))
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return value


def _configuration_texts(environ: Mapping[str, str]) -> Iterator[str]:
    folders = [environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"]
    folders += [*(environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"), "/etc"]
    places = [environ.get("UV_CONFIG_FILE") or "", *(f"{folder}/uv/uv.toml" for folder in folders)]
    for place in places:
        try:
            yield Path(place).read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError):
            continue
