"""Set an isolation up and become the command: what `sandbox.isolation` puts in front of an argv.

Runs in an interpreter of its own (`-I -S`), so it imports only the standard library and itself, and starts in some 30
milliseconds. It needs no tool of the host: the kernel is called through ctypes.
"""
