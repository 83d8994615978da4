"""Headers that tell browsers and proxies how to treat an answer."""

from __future__ import annotations

NO_SNIFF = "X-Content-Type-Options", "nosniff"
NO_STORE = "Cache-Control", "no-store"
ONLY_HTTPS = "Strict-Transport-Security", "max-age=31536000"  # one year, the least that preload lists accept

# RapiDoc writes `style` attributes, which a policy can only allow or forbid, and one <style> element: its theme, which
# follows from the attributes in documentation.py. After a change of either, Chromium's console names the new hash.
THEME = "sha256-z1/+b86bNayMugl69DfLS98G9ZyDUDo5wh3cZkfAEec="
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' '{THEME}'",
        "style-src-attr 'unsafe-inline'",
        "connect-src 'self'",  # the document, and the requests of "TRY"
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}
