"""Tests of the contract of use cases: every rule is broken by a use case that breaks it, and by nothing else here."""
