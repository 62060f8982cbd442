"""The first rung: difyoff's own reading of a package. No uv, no network; milliseconds."""
