"""Settings that are valid individually but break a guarantee together."""

from __future__ import annotations

from typing import Protocol

CALL_S = 10  # the longest that one call to a participant takes: 2 s to connect and 8 s for the answer
# A lease is renewed when less than three quarters of it are left, and two calls must fit into the rest: 20 / 0.75.
SHORTEST_LEASE_S = 27


class Checked(Protocol):
    """The settings that are compared with one another."""

    @property
    def app_env(self) -> str: ...
    @property
    def lease_s(self) -> float: ...
    @property
    def abandoned_after_s(self) -> float: ...
    @property
    def webhook_lease_s(self) -> float: ...
    @property
    def webhook_timeout_s(self) -> float: ...
    @property
    def retain_orders_days(self) -> int: ...
    @property
    def retain_keys_days(self) -> int: ...
    @property
    def console_oidc_issuer(self) -> str: ...
    @property
    def console_oidc_client_id(self) -> str: ...
    @property
    def console_oidc_client_secret(self) -> str: ...
    @property
    def console_oidc_roles(self) -> tuple[tuple[str, str], ...]: ...


def problems(settings: Checked) -> list[str]:
    """Return a sentence for each guarantee that the settings break. Tests may use shorter times (APP_ENV=test)."""
    found: list[str] = []
    if 0 < settings.retain_keys_days < settings.retain_orders_days:
        found.append(
            f"RETAIN_KEYS_DAYS must not be less than RETAIN_ORDERS_DAYS ({settings.retain_orders_days}), and is "
            f"{settings.retain_keys_days}: an order's key must be refused for at least as long as the order is kept"
        )
    found += _of_sign_in(settings)
    if settings.app_env == "test":
        return found
    if settings.lease_s < SHORTEST_LEASE_S:
        found.append(
            f"LEASE_S must be {SHORTEST_LEASE_S} or more, and is {settings.lease_s:g}: an order's lease must not end "
            f"during its calls, and each can take {CALL_S} s"
        )
    if settings.abandoned_after_s < settings.lease_s:
        found.append(
            f"ABANDONED_AFTER_S must not be less than LEASE_S ({settings.lease_s:g}), and is "
            f"{settings.abandoned_after_s:g}: a request would be closed before its client can repeat it"
        )
    if settings.webhook_lease_s <= settings.webhook_timeout_s:
        found.append(
            f"WEBHOOK_LEASE_S must be more than WEBHOOK_TIMEOUT_S ({settings.webhook_timeout_s:g}), and is "
            f"{settings.webhook_lease_s:g}: a delivery would be sent again while its receiver may still answer"
        )
    return found


def _of_sign_in(settings: Checked) -> list[str]:
    """OpenID Connect needs all of its settings, or none."""
    values = {
        "CONSOLE_OIDC_ISSUER": settings.console_oidc_issuer,
        "CONSOLE_OIDC_CLIENT_ID": settings.console_oidc_client_id,
        "CONSOLE_OIDC_CLIENT_SECRET": settings.console_oidc_client_secret,
        "CONSOLE_OIDC_ROLES": settings.console_oidc_roles,
    }
    given = [name for name, value in values.items() if value]
    missing = [name for name in values if name not in given]
    return [f"{given[0]} is set without {', '.join(missing)}: nobody could sign in"] if given and missing else []
