"""Tests of what ``shadow new-use-case`` reads, decides and writes."""
