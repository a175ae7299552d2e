"""Use cases as shipped, cut to few days, so that a test plays their loop whole. A module is named as its use case."""
