"""Tests of archives of a home: what is in them, what is refused, and what a kill leaves."""
