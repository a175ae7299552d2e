"""Feast's definitions, applied by Feast's own command and compared with what the platform applies."""
