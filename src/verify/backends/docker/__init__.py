"""The docker backend: the daemon's steps in its own image, without a network."""
