"""Tests of Feast's definitions."""
