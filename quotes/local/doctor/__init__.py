"""`quotes doctor`: checks of what the service needs, each with a remedy."""
