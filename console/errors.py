"""The refusals of the console, in addition to those of the Edge API."""

from __future__ import annotations

from common.api.errors import ApiError


class NoSuchRefund(ApiError):
    """There is no refund with this id."""

    status, code = 404, "refund_not_found"


class NotDueNow(ApiError):
    """It cannot be tried again now."""

    status, code = 409, "not_retryable"


class NeedsNoAttention(ApiError):
    """It does not need attention."""

    status, code = 409, "needs_no_attention"


class NoSuchJob(ApiError):
    """There is no job with this id."""

    status, code = 404, "job_not_found"


class JobHasEnded(ApiError):
    """The job has ended, and cannot be stopped."""

    status, code = 409, "job_has_ended"


class MoreOrdersFit(ApiError):
    """More orders fit the filter now than `expected`. Look at the number again: `details.orders`."""

    status, code = 409, "more_orders_fit"


class NoLongerFits(ApiError):
    """The order has changed, and does not fit the job's filter any more."""

    status, code = 409, "no_longer_fits"


class Locked(ApiError):
    """Something else kept the order locked."""

    status, code = 409, "locked"


class ProviderUnavailable(ApiError):
    """The sign-in provider does not answer. Try again, or sign in with an operator key."""

    status, code = 503, "sign_in_unavailable"


class SignInRefused(ApiError):
    """The sign-in could not be completed. Begin again."""

    status, code = 403, "sign_in_refused"


class NoRole(ApiError):
    """Your account is in no group that may use this console. Ask an administrator for one, and sign in again."""

    status, code = 403, "no_role"
