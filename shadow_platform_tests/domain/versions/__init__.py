"""Tests of ``domain.versions``: finding, comparing, following back."""
