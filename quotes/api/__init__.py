"""The GraphQL schema: what can be asked, how it is checked, and how it is refused."""
