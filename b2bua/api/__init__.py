"""The HTTP face of the service: what a provider, an operator or an auditor may ask, as plain REST with OpenAPI."""
