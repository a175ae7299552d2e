"""Tests of the consumer process: what a topic brings, onto disk and into the online store."""
