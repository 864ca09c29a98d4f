"""The web process: ASGI, HTTP, WebSocket, server-sent events, limits, health and the pages."""
