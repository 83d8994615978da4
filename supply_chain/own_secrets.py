"""A detector for the keys that Holdfast makes."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class HoldfastKeyDetector(RegexBasedDetector):  # type: ignore[misc]  # the library has no types
    """Keys of clients and operators, and secrets of webhooks."""

    secret_type = "Holdfast key"
    denylist = (
        re.compile(r"\bhfo?_[A-Za-z0-9]{4,}_[A-Za-z0-9_-]{16,}"),
        re.compile(r"\bwhsec_[A-Za-z0-9+/]{24,}"),
    )
