"""The one place where an archive of somebody else is opened: strict readers of zip and tar, the rules for a wheel."""
