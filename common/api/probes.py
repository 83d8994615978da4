"""The endpoints of every service that need no credential: an index, its health and its liveness."""

from __future__ import annotations

from flask import request
from marshmallow import Schema, fields, validate

from common.api.access import PUBLIC
from common.api.routes import Api, Reply
from common.database.database import Database
from common.database.errors import NotMigrated, TransientDatabaseError

INDEX = {"docs": "/docs", "openapi": "/openapi.json", "health": "/health", "live": "/live"}


class Index(Schema):
    service = fields.String(required=True)
    title = fields.String(required=True)
    docs = fields.String(required=True)
    openapi = fields.String(required=True)
    health = fields.String(required=True)
    live = fields.String(required=True)


class Health(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["healthy", "unhealthy"]))
    service = fields.String(required=True)
    database = fields.String(required=True, validate=validate.OneOf(["connected", "disconnected", "not migrated"]))


class Liveness(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["alive"]))
    service = fields.String(required=True)


def probes(name: str, title: str, *, has_index: bool = True) -> Api:
    """:param name: of the service :param has_index: False: the service has a first page of its own"""
    api = Api("Probes", "The same in every service.")
    if has_index:
        _add_index(api, name, title)

    @api.route("GET", "/health", answer=Health, status=(200, 503), access=PUBLIC)
    def health(database: Database) -> Reply:
        """Whether the service can work: whether its database answers.

        Responds within 2 s, whatever state the database is in.
        """
        try:
            database.check()
        except TransientDatabaseError as error:
            state = "not migrated" if isinstance(error, NotMigrated) else "disconnected"
            return Reply({"status": "unhealthy", "service": name, "database": state}, 503)
        return Reply({"status": "healthy", "service": name, "database": "connected"}, 200)

    @api.route("GET", "/live", answer=Liveness, access=PUBLIC)
    def live(_: Database) -> dict[str, str]:
        """Whether the process responds at all. The database is not asked."""
        return {"status": "alive", "service": name}

    return api


def _add_index(api: Api, name: str, title: str) -> None:
    @api.route("GET", "/", answer=Index, status=(200, 302), access=PUBLIC)
    def index(_: Database) -> Reply:
        """Where to find what.

        Redirects a browser to the documentation.
        """
        data = {"service": name, "title": title, **INDEX}
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return Reply(data, 302, {"Location": INDEX["docs"], "Vary": "Accept"})
        return Reply(data, 200, {"Vary": "Accept"})
