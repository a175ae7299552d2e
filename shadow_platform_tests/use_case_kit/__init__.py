"""The parts that use cases are made of."""
