"""Calls from one service to another, and what a response means. Imports `json_text` and `process`.

The Edge API and the orchestrator may import it.
"""
