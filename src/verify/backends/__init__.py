"""Where a daemon's steps run: one module for each backend."""
