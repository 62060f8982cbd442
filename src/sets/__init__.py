"""A site's set of plugins: `difyoff.toml`, what its lock pins, which part of it a machine builds, what has moved on."""
