"""Tests of the parity stage, on a little world that is served for a day."""
