"""JSON as text: how it is written, compared and strictly read. Imports nothing of ours; every package may import it."""
