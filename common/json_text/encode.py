"""JSON as it is sent, stored and compared. json.dumps with settings would make an encoder for each text."""

import json

compact = json.JSONEncoder(separators=(",", ":")).encode
readable = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""Like `compact`, but without escapes for non-ASCII letters."""
canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
"""The same text for equal values, for fingerprints."""
