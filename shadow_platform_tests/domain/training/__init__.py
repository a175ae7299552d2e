"""Tests of the training stage, one file a module of ``domain.training``."""
