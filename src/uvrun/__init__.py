"""uv and Python on this machine: which releases there are, and the environments that uv runs in."""
