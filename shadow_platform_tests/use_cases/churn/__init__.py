"""Tests of what ``churn`` must guarantee of its own, beyond the contract of every use case."""
