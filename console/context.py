"""What the views of the console share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.database.database import Database
from common.process.settings import Settings
from console.inventory import Inventory
from console.operators import Operators
from console.status import Board
from edge_api.notifier import Notifier
from edge_api.webhooks import Endpoints

if TYPE_CHECKING:
    from console.oidc import Provider


@dataclass(frozen=True)
class Console:
    database: Database
    operators: Operators
    settings: Settings
    board: Board
    inventory: Inventory
    endpoints: Endpoints
    order_notifier: Notifier = field(repr=False)
    refund_notifier: Notifier = field(repr=False)
    provider: Provider | None = None
    """Of OpenID Connect. None: operators sign in with their keys only."""
