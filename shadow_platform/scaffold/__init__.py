"""Writes the package of a new use case: from a CSV of events to something that ``shadow demo`` plays.

Belongs here: reading what a CSV says of itself, choosing windows that fit its days, the templates. Does not belong
here: the command (``cli.new_use_case``), parts that a use case is made of (``use_case_kit``). Upstream: contracts, the
kit's reader of files. Downstream: the command line; the package it writes does not need it.
"""
