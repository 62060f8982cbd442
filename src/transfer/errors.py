"""What the client and its connections share: an error that may pass, and how a user and password are sent."""

from base64 import b64encode


class TransientError(Exception):
    """Another try may help. `after`: the seconds the server asked to wait, if it did."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def basic(user: str, password: str) -> str:
    """Return the value of a basic `Authorization` header (RFC 7617, UTF-8)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
