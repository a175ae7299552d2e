"""Runnable comparisons with peers; each prints ratios from one run. Upstream: the platform. Downstream: the README."""
