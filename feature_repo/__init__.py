"""Feast's side of the platform: its configuration and one file of definitions per use case.

Belongs here: what ``feast apply`` reads. Does not belong here: feature SQL (``use_cases/<name>``) and whatever reads or
writes features (``shadow_platform.adapters.feature_store``). ``feast apply`` imports every module below this folder, so
nothing else may live here.
"""
