"""The point-in-time join: what every offline store must answer, and what is our own store's alone."""
