"""Where plugins come from: a name, a URL, an app or a folder becomes a plugin on this machine.

Another kind of source is one module with what `source.Source` asks for, and its line in `table.SOURCES`.
"""
