"""Calls from one service to another, and the meaning of a response. Imports `json_text` and `process`.

The Edge API and the orchestrator may import it.
"""
