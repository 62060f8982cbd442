"""Where other programs run: processes, the network cut off and proved so, containers."""
