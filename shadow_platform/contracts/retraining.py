"""Names under which a run, and the version it makes, carry what was asked of a retraining, and where it runs.

Belongs here: tags that several rooms read. Does not belong here: when a training starts (``automation``). Upstream:
nothing. Downstream: the training stage writes them, promotion and automation read them.
"""

from collections.abc import Mapping

# Of runs and of registered versions: "true", or "false" for a version that promotion only reports on.
PROMOTE_TAG = "shadow/promote"
# Of runs and of registered versions: environment whose approval rule of the rollout policy holds as well.
ENVIRONMENT_TAG = "shadow/environment"
# From the loosest; an environment that is not among them is stricter than all of them.
ENVIRONMENTS = ("development", "staging", "production")
# Of runs that gave a version which exists already: what was asked of it before and holds on, in words.
HOLDS_TAG = "shadow/holds"
# Of runs that found no reason to train: why. They start no cooldown and cost no budget. Empty: there was one after all.
NOTHING_TO_DO_TAG = "shadow/nothing_to_do"
# Of runs: host whose process executes it. Only there can one see whether that process lives.
HOST_TAG = "shadow/host"
# Of runs that a command executes in its own process: changes as long as that process lives.
BEAT_TAG = "shadow/beat"


def tightened(before: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    """Tags that a version needs beside those it has, when it is trained once more: what is asked may only restrict it.

    >>> tightened({}, {PROMOTE_TAG: "false", ENVIRONMENT_TAG: "production"})
    {'shadow/promote': 'false', 'shadow/environment': 'production'}
    >>> tightened({PROMOTE_TAG: "false", ENVIRONMENT_TAG: "production"}, {PROMOTE_TAG: "true"})
    {}
    """
    changed = {}
    if asked.get(PROMOTE_TAG) == "false" != before.get(PROMOTE_TAG):
        changed[PROMOTE_TAG] = "false"
    if ENVIRONMENT_TAG in asked and _strictness(asked) > _strictness(before):
        changed[ENVIRONMENT_TAG] = asked[ENVIRONMENT_TAG]
    return changed


def _strictness(tags: Mapping[str, str]) -> int:
    environment = tags.get(ENVIRONMENT_TAG)
    if environment is None:
        return -1
    return ENVIRONMENTS.index(environment) if environment in ENVIRONMENTS else len(ENVIRONMENTS)
