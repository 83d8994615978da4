"""Credentials of services: how one proves to another who it is.

May be used by `common.calls`, `common.api` and the programs. Depends on nothing of ours.
"""
