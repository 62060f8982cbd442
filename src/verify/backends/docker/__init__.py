"""The docker backend: the daemon's steps in its own image, without a network."""

from .backend import open_backend

__all__ = ["open_backend"]
