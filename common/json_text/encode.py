"""JSON as it is sent, stored and compared. json.dumps with settings would make an encoder for each text."""

import json

compact = json.JSONEncoder(separators=(",", ":")).encode
readable = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""As `compact`, with each letter as it is."""
canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
"""The same text for the same value: what a fingerprint is taken of."""
