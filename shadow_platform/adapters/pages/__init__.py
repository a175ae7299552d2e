"""Pages of HTML about models (jinja2) that need no network and run no script.

Belongs here: the card of one model (``card``), two versions side by side (``comparison``), and what both are made with
(``rendering``). Does not belong here: what they say (``domain.training``, ``domain.versions``), the pictures
themselves (``adapters.pictures``). Upstream: training, comparisons. Downstream: bundles, MLflow, ``shadow models``.

Import the module: the card decides bytes of a bundle, the comparison must not.
"""
