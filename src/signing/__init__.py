"""Keys and signatures of packages in the daemon's own format: make a key pair, sign, check."""
