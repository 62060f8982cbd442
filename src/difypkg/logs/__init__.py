"""Why something failed, read off logs of a whole site.

Bytes become lines (`decoding`), lines become records of one component each (`records`), records become failures
(`failures`), which rules in TOML files beside these modules put a cause to. `reading` is the whole way.
"""
