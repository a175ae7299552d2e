"""Pure functions, tested by values and properties."""
