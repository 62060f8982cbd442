"""Run the command line as its users do: another process, its streams and its exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one run ended. `stdout` is data, `stderr` is talk."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document that `--json` prints."""
        assert self.stdout, f"no document; exit code {self.code}, and:\n{self.stderr}"
        return json.loads(self.stdout)

    @property
    def result(self) -> Any:
        """The only entry of the document's results."""
        (result,) = self.document["results"]
        return result


def difyoff(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, umask: int = -1, timeout: float = 240
) -> Run:
    """Run `difyoff` with the environment of this test, and `env` over it."""
    done = subprocess.run(
        [sys.executable, "-m", "difyoff", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | dict(env or {}),
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    return Run(code=done.returncode, stdout=done.stdout, stderr=done.stderr)
