"""Tests of ``deploy/``, ``.github/`` and what builds images: each file by the tool that reads it, or by its schema.

Belongs here: one file a subject. Does not belong here: what runs inside the containers, which other tests hold.
"""
