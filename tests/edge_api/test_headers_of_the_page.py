"""Headers of the documentation page: it tells no other site where its reader was."""

from __future__ import annotations

from common.process.settings import Settings
from edge_api.app import create_app

NO_DATABASE = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "LOG_LEVEL": "ERROR"}


def test_page_sends_no_referrer() -> None:
    response = create_app(Settings.load(NO_DATABASE)).test_client().get("/docs")
    assert response.status_code == 200
    assert response.headers["Referrer-Policy"] == "no-referrer"
