"""Webhooks: what is collected, how it is signed and sent, and that nothing is lost on the way."""
