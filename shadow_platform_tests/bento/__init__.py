"""The serving side, in processes of its own and on a small real bundle."""
