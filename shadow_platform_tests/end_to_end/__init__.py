"""The whole loop, with every real part, on the tiny use case."""
