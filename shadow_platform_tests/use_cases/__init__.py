"""Tests of the use cases: one contract for all, and what each must guarantee of its own."""
