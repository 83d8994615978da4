"""What several processes read of the ledger: the calls that got no yes, and orders counted by the minute and in all.

Depends on `common.database`.
"""
