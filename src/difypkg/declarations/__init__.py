"""A plugin's YAML files as the daemon reads them: what it declares as data, and one interpreter of it."""
