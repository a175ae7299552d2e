"""Pictures for people (matplotlib): PNG bytes, and markdown that Dagster's UI shows inline.

``comparison``, ``training``, ``fairness`` and ``drift`` draw; ``inline`` words a picture as markdown. Does not belong
here: computing what is drawn. Upstream: frames and verdicts of the assets. Downstream: asset metadata, MLflow, model
cards. matplotlib is imported when a picture is drawn; nothing is written to disk and no window is opened.

Import the module: that of training decides bytes of a bundle, the others must not.
"""
