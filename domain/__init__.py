"""What Holdfast is about: the states of an order, ids that follow from ids, amounts of money. Imports nothing of ours.

The services, the orchestrator and `common.api` may import it.
"""
