"""Orders and refunds that need attention: trying one again now, and taking one off the list.

For `ops attention`, the console, the metrics and the alerts. May depend on `common.database` and `domain`.
"""
