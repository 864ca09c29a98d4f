"""What the connections of a server have in common."""

from uvicorn.server import ServerState

from quotes.server.limits.open_connections import OpenConnections
from quotes.settings import Settings


class Shared(ServerState):
    """What all connections of a server share."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.open_connections = OpenConnections(settings)
        self.short = min(settings.max_url, settings.max_headers)
        self.draining = False  # each HTTP connection ends with its next answer
