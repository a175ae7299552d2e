"""Other ways to call a window drifted, each given the same windows as Parquet files.

``environments`` makes an environment for each library and runs its judge there; ``judge_*`` are those judges, with
nothing of the platform installed; ``exchange`` is what they share. Does not belong here: which windows (``compared``).
"""
