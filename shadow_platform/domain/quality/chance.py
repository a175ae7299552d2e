"""What chance explains of a share that was counted: exact binomial bounds.

Clopper and Pearson (1934): they hold at every size, while Wilson's interval is too sure of itself where a handful of
rows meets a limit near zero, as limits of data quality are. Upstream: counts. Downstream: what is judged.
"""

from scipy.special import betaincinv

CONFIDENCE = 0.99


def share_at_least(k: int, n: int) -> float:
    """Lower end of the one-sided 99 % interval of a share of which ``k`` of ``n`` were seen.

    >>> round(share_at_least(1, 10), 3), round(share_at_least(100, 1000), 3)
    (0.001, 0.079)
    """
    return float(betaincinv(k, n - k + 1, 1 - CONFIDENCE)) if k else 0.0


def share_at_most(k: int, n: int) -> float:
    """Upper end of the one-sided 99 % interval of a share of which ``k`` of ``n`` were seen.

    >>> round(share_at_most(0, 1000), 4), share_at_most(3, 3)
    (0.0046, 1.0)
    """
    return float(betaincinv(k + 1, n - k, CONFIDENCE)) if k < n else 1.0
