"""Who a change by hand is booked to.

Belongs here: the name that the audit trail gets. Does not belong here: whether this person may make the change: whoever
can run the command can give any name. Upstream: ``--by``, the machine's user. Downstream: commands that change a
deployment or answer for one.
"""

import getpass

from shadow_platform.contracts.errors import ShadowPlatformError

IMAGE_USER = "service"
"""Everybody who runs a command in a container is this user."""
OF_THE_PLATFORM = frozenset({"bootstrap", "gate", "policy", "reconcile", "slo-guard", "training"})
"""Actors that are no person: an audit row of theirs must be theirs."""
LONGEST = 100


def person(by: str | None) -> str:
    """Name for the audit trail: the one given, else the user's on this machine, else ``service``.

    Raises:
        ShadowPlatformError: the name given is empty, longer than a line, or one of the platform's own actors.
    """
    if by is None:
        return _user()
    name = by.strip()
    if not name or not name.isprintable() or len(name) > LONGEST:
        raise ShadowPlatformError(f"--by {by!r} is no name; expected 1 to {LONGEST} printable characters")
    if name in OF_THE_PLATFORM:
        raise ShadowPlatformError(f"--by {by!r} is what the platform books its own changes to; give a person's name")
    return name


def named_person(by: str | None) -> str:
    """Name for a change that a person answers for: that of a container's user is none.

    Raises:
        ShadowPlatformError: as ``person``, or nobody is named.
    """
    name = person(by)
    if name == IMAGE_USER:
        raise ShadowPlatformError(
            f"everybody is {IMAGE_USER!r} in a container; say who you are, for the audit trail: --by NAME"
        )
    return name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that its list of users does not have.
        return IMAGE_USER
