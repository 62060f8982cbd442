"""What the files of a package say, read and not judged: the lock, requirements, uv's settings, wheels."""
