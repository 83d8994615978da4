"""The events of orders, as the feed of the Edge API and webhooks send them.

Imports `common.api`. Every process that sends events imports it.
"""
