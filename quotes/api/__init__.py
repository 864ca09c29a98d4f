"""The GraphQL schema: what can be queried, how it is checked, and how it is refused."""
