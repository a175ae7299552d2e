"""Tests of the use case of card payments: its world, its drift, its SQL, its requests and answers."""
