"""uvicorn's connections and its server, extended: nothing else relies on their internals.

Those of uvicorn 0.54, and of websockets 17.4.
"""
