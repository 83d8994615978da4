"""Which web worker the processes under test use: ours, or gunicorn's with WEB_WORKER=gthread."""

import os

import pytest

IS_OURS = os.environ.get("WEB_WORKER", "holdfast") == "holdfast"
needs_our_worker = pytest.mark.skipif(not IS_OURS, reason="gthread lacks this; see docs/decisions/0022")
