"""Where other programs run: child processes, isolation from the network and its proof, containers."""
