"""The roles that routes of the console's API need."""

from common.api.access import Role

VIEWER, OPERATOR, ADMIN = Role("viewer"), Role("operator"), Role("admin")
