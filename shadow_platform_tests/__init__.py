"""Tests, laid out as the tree they test; plus end_to_end, chaos and browser.

A test's name is the guarantee it holds. Upstream: everything. Downstream: nothing.
"""
