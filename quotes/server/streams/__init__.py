"""The two kinds of connection that a subscription is delivered over."""
