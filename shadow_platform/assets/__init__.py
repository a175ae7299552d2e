"""Thin Dagster assets and their checks, one module per stage, made from a UseCase by one factory each.

An asset reads through resources, calls its domain twin, writes through resources and reports what it did. Asset
modules never import each other: they refer to upstream assets by key.
"""
