"""Make a wheel where only source exists, the same bytes each time: on this machine or in the daemon's image."""
