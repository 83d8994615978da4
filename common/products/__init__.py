"""The bodies of products: the inventory service keeps products, and the Edge API forwards calls about them.

Imports `common.api` and `domain`. Both services import it.
"""
