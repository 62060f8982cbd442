"""The canary: tries to resolve a name and to connect, and prints as JSON what became of it.

A program of its own, started with `-I -S` inside an isolation: `canary.py NAME ADDRESS PORT [ADDRESS PORT]...`.
"""

import errno
import json
import socket
import sys
from typing import Final

_PATIENCE: Final = 2.0  # seconds; a refusal by the kernel takes none, so who is still waiting has a network


def main(name: str, *ends: str) -> None:
    """Print `{"interfaces", "resolve", "connect"}`: errors by their errno name, null for a success."""
    connect = [_connect(address, int(port)) for address, port in zip(ends[::2], ends[1::2], strict=True)]
    print(json.dumps({"interfaces": _interfaces(), "resolve": _resolve(name), "connect": connect}))  # noqa: T201


def _connect(address: str, port: int) -> str | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as end:
            end.settimeout(_PATIENCE)
            end.connect((address, port))
    except OSError as error:
        return _name(error)
    return None


def _resolve(name: str) -> str | None:
    try:
        socket.getaddrinfo(name, 443)
    except OSError as error:
        return str(error.strerror)
    return None


def _interfaces() -> list[str]:
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []


def _name(error: OSError) -> str:
    return "ETIMEDOUT" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno or 0, str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
