"""Tests of the relay and the lander: what one home logged is in another, byte by byte, whatever dies in between."""
