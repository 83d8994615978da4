"""When a delivery is attempted again, and how long a receiver may fail."""

from __future__ import annotations

import random

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
# Seconds before each attempt, as Standard Webhooks recommends: 75.6 hours together.
DELAYS_S = (
    *(0, 5, 5 * MINUTE_S, 30 * MINUTE_S),
    *(2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S, 14 * HOUR_S, 20 * HOUR_S, 24 * HOUR_S),
)
JITTER = 0.1
WARN_AFTER_S = (HOUR_S, DAY_S, 4 * DAY_S)
DISABLE_AFTER_S = 5 * DAY_S


def delay_after(attempts: int) -> float | None:
    """Seconds until the next attempt, after so many failed ones, ±10 %. None: there is no next one."""
    if attempts >= len(DELAYS_S):
        return None
    return DELAYS_S[attempts] * random.uniform(1 - JITTER, 1 + JITTER)
