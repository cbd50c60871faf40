"""Makes golden.json: values of SciPy (one distribution: of mpmath) that src/stats is held against.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 mpmath && venv/bin/python make.py

Samples are not stored but drawn by a congruential generator that the tests have too. Probabilities are
stored as natural logarithms; those that SciPy gives as zero are left out.
"""

import json
import warnings

import mpmath
import numpy as np
import scipy
from scipy import stats
from scipy.special import log_ndtr

warnings.simplefilter("ignore")


def draw(seed, size, levels, shift, scale):
    """Squares of uniform numbers, times `scale`; with `levels`, rounded down to that many values; plus `shift`."""
    state, values = seed, np.empty(size)
    for i in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values[i] = (state >> 11) / 2.0**53
    values = values**2 * scale
    if levels:
        values = np.floor(values * levels) / levels
    return values + shift


def ln(p):
    return float(np.log(p)) if p > 0 else None


SAMPLES = [
    # seed, reference, current, levels, shift, scale
    (1, 2, 2, 0, 0.0, 1.0),
    (2, 3, 5, 0, 0.5, 1.0),
    (3, 1, 7, 0, 0.0, 1.0),
    (4, 10, 10, 0, 0.1, 1.0),
    (5, 20, 20, 0, 0.0, 1.0),
    (6, 20, 13, 4, 0.0, 1.0),
    (7, 21, 5, 0, 0.3, 2.0),
    (8, 50, 80, 0, 0.05, 1.0),
    (9, 50, 80, 8, 0.125, 1.0),
    (10, 500, 500, 0, 2.0, 1.0),
    (11, 400, 300, 0, 0.2, 1.0),
    (12, 997, 1009, 0, 0.02, 1.0),
    (13, 1000, 10, 5, 0.0, 1.0),
    (14, 2000, 2000, 3, 0.0, 1.1),
    (15, 5000, 4000, 0, 0.01, 1.0),
    (16, 9000, 100, 0, 0.0, 1.3),
    (17, 20000, 15000, 0, 0.005, 1.0),
    (18, 20000, 15000, 20, 0.05, 1.0),
    (19, 60000, 200, 0, 0.1, 0.7),
    (20, 40000, 40000, 2, 0.0, 1.02),
    (21, 30000, 50000, 0, 0.0, 1.0),
    (22, 1500, 1500, 0, 0.35, 1.0),
    (23, 6, 300, 0, 0.6, 1.0),
    (24, 100, 100, 1, 0.0, 1.0),
]


def of_samples():
    cases = []
    for seed, n, m, levels, shift, scale in SAMPLES:
        p = draw(seed, n, levels, 0.0, 1.0)
        q = draw(seed + 1000, m, levels, shift, scale)
        case = dict(seed=seed, reference=n, current=m, levels=levels, shift=shift, scale=scale)
        asymptotic = stats.ks_2samp(p, q, method="asymp")
        case["ks"] = float(asymptotic.statistic)
        case["ks_asymptotic_ln_p"] = ln(asymptotic.pvalue)
        if max(n, m) <= 10_000:
            case["ks_exact_ln_p"] = ln(stats.ks_2samp(p, q, method="exact").pvalue)
        case["wasserstein"] = float(stats.wasserstein_distance(p, q))
        case["energy"] = float(stats.energy_distance(p, q))
        if min(n, m) > 1:
            if levels == 0:
                cvm = stats.cramervonmises_2samp(p, q, method="auto")
                case["cvm"] = float(cvm.statistic)
                # SciPy takes one minus the distribution function, good to about 1e-10.
                case["cvm_ln_p"] = ln(cvm.pvalue) if cvm.pvalue > 1e-3 else None
            else:
                # SciPy's rank form is another statistic when there are ties.
                pooled = np.concatenate([p, q])
                below = [np.searchsorted(np.sort(side), pooled, side="right") / len(side) for side in (p, q)]
                case["cvm"] = float(n * m / (n + m) ** 2 * np.sum((below[0] - below[1]) ** 2))
            if len(np.unique(np.concatenate([p, q]))) > 1 and n + m > 4:
                ad = stats.anderson_ksamp([p, q], variant="midrank")
                case["ad"] = float(ad.statistic)
                case["ad_ln_p"] = ln(ad.pvalue)
        cases.append(case)
    return cases


def of_tables():
    tables = [
        [[10, 20, 30], [6, 9, 17]],
        [[1, 0], [0, 1]],
        [[5, 3], [2, 8]],
        [[12, 5], [3, 17]],
        [[1000, 10], [900, 40]],
        [[100000, 20, 3], [90000, 900, 30]],
        [[50000, 50000], [51000, 46000]],
        [[3, 0, 0, 5], [0, 7, 1, 1]],
        [[10**7, 3 * 10**6, 2000], [10**6, 31 * 10**4, 250]],
        [[500, 300, 200, 100, 0], [100, 300, 500, 200, 60]],
        [list(range(1, 101)), list(range(100, 0, -1))],
        [[(i * 37) % 11 + 1 for i in range(1000)], [(i * 53) % 13 + 1 for i in range(1000)]],
        [[2000, 1000], [1200, 2100]],
        [[4, 996], [0, 1000]],
        [[2, 999998], [9, 99991]],
    ]
    cases = []
    for table in tables:
        chi2 = stats.chi2_contingency(table, correction=False)
        g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        case = dict(
            reference=table[0],
            current=table[1],
            chi2=float(chi2.statistic),
            dof=int(chi2.dof),
            chi2_ln_p=ln(chi2.pvalue),
            g=float(g.statistic),
            g_ln_p=ln(g.pvalue),
        )
        if len(table[0]) == 2:
            case["fisher_ln_p"] = ln(stats.fisher_exact(table).pvalue)
        cases.append(case)
    return cases


def cramer_von_mises_tail(x):
    """One minus the limit distribution by the series of Anderson and Darling (1952), with 500 digits."""
    mpmath.mp.dps = 500
    x = mpmath.mpf(x)
    total, k = mpmath.mpf(0), 0
    while True:
        u = (4 * k + 1) ** 2 / (16 * x)
        term = mpmath.gamma(k + 0.5) / mpmath.factorial(k) * mpmath.sqrt(4 * k + 1)
        term *= mpmath.exp(-u) * mpmath.besselk(mpmath.mpf(1) / 4, u)
        total += term
        if term < mpmath.mpf(10) ** -450:
            break
        k += 1
    return float(mpmath.log(1 - total / (mpmath.pi ** 1.5 * mpmath.sqrt(x))))


def of_tails():
    chi2 = []
    for dof in [1, 2, 3, 9, 30, 99, 999, 30_000]:
        for exponent in [0.001, 0.1, 1, 3, 10, 50, 100, 200, 299]:
            x = float(stats.chi2.isf(10.0**-exponent, dof))
            chi2.append([dof, x, ln(stats.chi2.sf(x, dof))])
    normal = [[z, float(log_ndtr(-z) + np.log(2))] for z in [0.0, 0.01, 1.0, 1.96, 5.0, 10.0, 37.0, 100.0]]
    ks = []
    sizes = [(3, 4), (12, 9), (30, 30), (100, 80), (280, 280), (282, 282), (500, 90), (3000, 2000), (40000, 20)]
    sizes += [(100_000, 80_000), (500_000, 500_000), (1_900_000, 1_900_000)]
    for n, m in sizes:
        size = float(np.round(n * m / (n + m)))
        for exponent in [0.01, 0.3, 1, 2, 5, 10, 30, 100, 200, 299]:
            x = float(np.sqrt(-np.log(10.0**-exponent / 2) / 2 / size))
            if x < 1 and stats.kstwo.sf(x, size) > 1e-305:
                ks.append([n, m, x, ln(stats.kstwo.sf(x, size))])
    cvm = [[x, cramer_von_mises_tail(x)] for x in [0.01, 0.05, 0.1, 0.3, 1.0, 3.0, 12.0, 60.0, 138.0]]
    return dict(cramer_von_mises=cvm, chi_square=chi2, normal_two_sided=normal, kolmogorov_smirnov=ks)


golden = dict(
    scipy=scipy.__version__,
    numpy=np.__version__,
    samples=of_samples(),
    tables=of_tables(),
    tails=of_tails(),
)
with open("golden.json", "w") as file:
    json.dump(golden, file, indent=0)
    file.write("\n")
