"""The guard of a participant: which service calls, and whether it may."""

from __future__ import annotations

from collections.abc import Sequence

from common.api.access import Access, Callers, Guard
from common.api.errors import Forbidden, Unauthorized
from common.credentials.service_tokens import OPS, Clock, InvalidToken, Verifier


def bearer(authorization: str | None) -> str:
    """The credential in the header Authorization. Empty: there is none of this kind."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def service_guard(keys: Sequence[str], service: str, clock: Clock) -> Guard:
    """Make the guard of a participant.

    :param keys: that sign service tokens
    """
    verifier = Verifier(keys, service, clock)

    def guard(authorization: str | None, access: Access) -> str:
        assert isinstance(access, Callers), "a participant has no clients"
        try:
            caller = verifier.caller(bearer(authorization))
        except InvalidToken:
            raise Unauthorized() from None
        if caller != OPS and caller not in access.names:
            raise Forbidden(f"The service {caller} may not call this.")
        return caller

    return guard
