"""The stand-in for the exchange: its API on loopback, with made-up prices and faults to order."""
