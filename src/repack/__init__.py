"""Plugin + Target -> OfflinePackage. Never imports `verify`."""
