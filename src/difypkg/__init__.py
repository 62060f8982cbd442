"""The `.difypkg` format and the shared words. No network, no subprocess, no terminal."""
