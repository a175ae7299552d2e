"""The gate: its statistics and its decisions."""
