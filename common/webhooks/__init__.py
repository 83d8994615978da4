"""What the Edge API and the process `webhooks` must agree on: ids, secrets, signatures, and the order of deliveries.

May depend on `common.database`.
"""
