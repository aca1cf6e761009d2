"""When to stop repeating a measurement, and what its samples say. Times in ms. Source: spec calibration 5.4."""

from statistics import median

# 1.96 · 1.253 · 1.4826: from the median absolute deviation to the 95 % half-width of a normal sample's median.
HALF_WIDTH = 3.642
# Standard deviations above the median from which a repeat counts as disturbed, and the share of such repeats that may be dropped.
OUTLIER_DEVIATIONS = 5
OUTLIER_SHARE = 0.1
# A clock ticks: samples that fall on one tick have no deviation, and the next tick is no outlier.
TICK_RATIO = 0.0005
# A median of fewer says nothing.
FEWEST = 3


def deviation(samples):
    """Median absolute deviation from the median."""
    middle = median(samples)
    return median(abs(one - middle) for one in samples)


def half_width(samples):
    """Half-width of the median's 95 % interval, as a ratio to the median."""
    return half_width_of(median(samples), deviation(samples), len(samples))


def half_width_of(middle, mad, n):
    """`half_width` from median, median absolute deviation and number of samples."""
    return HALF_WIDTH * mad / (n**0.5 * middle)


def enough(samples, policy, elapsed_s):
    """True when repeats may stop: precise enough, as many as the policy allows, or out of time."""
    n = len(samples)
    if n < FEWEST:
        return False
    return n >= policy['max'] or elapsed_s >= policy['cap_s'] or (n >= policy['min'] and half_width(samples) <= policy['ci'])


def kept(samples):
    """Samples without disturbed ones, and whether those were too many to drop: then all are kept and the point is noisy."""
    middle = median(samples)
    limit = middle + OUTLIER_DEVIATIONS * 1.4826 * max(deviation(samples), TICK_RATIO * middle)
    inside = [one for one in samples if one <= limit]
    noisy = len(samples) - len(inside) > OUTLIER_SHARE * len(samples)
    return (samples, True) if noisy else (inside, False)


def summary(samples):
    """n, median_ms, mad_ms, ci_rel and samples_ms of a record, and its status `ok` or `noisy`."""
    inside, noisy = kept(samples)
    middle, mad = median(inside), deviation(inside)
    return {
        'status': 'noisy' if noisy else 'ok',
        'n': len(inside),
        'median_ms': middle,
        'mad_ms': mad,
        'ci_rel': half_width_of(middle, mad, len(inside)),
        'samples_ms': inside[:50],
    }
