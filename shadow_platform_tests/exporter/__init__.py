"""Tests of the exporter: what it reads, what it costs, what a source that fails takes with it (nothing)."""
