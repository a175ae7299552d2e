"""Tests of the use case of loans: its world, its SQL, its requests and answers."""
