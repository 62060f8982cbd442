"""Find, fetch and run a given uv; interpreters; the one subprocess door; network-less runs."""
