"""Tests of the nouns: records, table schemas, errors."""
