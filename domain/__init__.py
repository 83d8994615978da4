"""The domain: the states of an order, derived ids, amounts of money. Imports none of our packages.

The services, the orchestrator, `common.api` and `common.process` may import it.
"""
