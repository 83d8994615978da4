"""Credentials: how a service and a client prove who they are.

May be used by `common.api` and the programs. Imports no other package of this repository.
"""
