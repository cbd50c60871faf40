"""Makes golden.json: values of SciPy, scikit-learn and plain numpy that the labelled detectors and the estimates are held against.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 && venv/bin/python make.py

Rows are not stored but drawn by a congruential generator that the tests have too. Everything is written out in the plainest
way, row by row where the tested code works with sums.
"""

import json
import math

import numpy as np
from scipy import optimize, stats
from scipy.special import digamma, polygamma
from sklearn.isotonic import IsotonicRegression

MULTIPLES = [1.1, 1.2, 1.35, 1.5, 2.0, 3.0]
WEIGHTS = [0.05, 0.27, 0.13, 0.24, 0.24, 0.07]


def uniforms(seed, size):
    state, values = seed, np.empty(size)
    for i in range(size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values[i] = (state >> 11) / 2.0**53
    return values


# ── sequential ───────────────────────────────────────────────────────────────────────────────────────

binomial = [
    [k, n, p, float(stats.binom.logsf(k - 1, n, p))]
    for k, n, p in [
        (1, 5, 0.01), (3, 10, 0.3), (9, 10, 0.3), (50, 1000, 0.04), (90, 1000, 0.04), (40, 1000, 0.04),
        (1, 1000, 0.001), (3000, 28000, 0.1), (2700, 28000, 0.1), (130, 10000, 0.01), (7, 7, 0.5),
    ]
]
student = [
    [t, df, float(np.log(2) + stats.t.logsf(t, df))]
    for t in (0.1, 1.0, 3.0, 8.0, 20.0)
    for df in (1.0, 6.5, 27.0, 300.0)
]
clopper = [
    [k, n, float(stats.beta.isf(0.05, k + 1, n - k))]
    for k, n in [(0, 10), (1, 10), (9, 10), (28, 280), (2800, 28000), (0, 100000), (12345, 100000)]
]


def rate_path(p0, batches, length):
    """The recursion with plain numbers; alternatives are capped at .95 and the evidence at ten times what an alarm takes."""
    rates = [min(0.95, p0 * m) for m in MULTIPLES]
    r = [0.0] * 6
    path = []
    for events, labels in batches:
        r = [
            min((value + labels) * (p / p0) ** events * ((1 - p) / (1 - p0)) ** (labels - events), 10 * length)
            for value, p in zip(r, rates)
        ]
        path.append(sum(w * value for w, value in zip(WEIGHTS, r)) / length)
    return path


draws = uniforms(5, 400)
batches = [[int(np.sum(draws[i * 20 : i * 20 + 20] < (0.1 if i < 10 else 0.2))), 20] for i in range(20)]
rates = {"rate": 0.1, "length": 1e5, "batches": batches, "worse": rate_path(0.1, batches, 1e5)}


def loss_path(m0, variance, losses, length):
    variance = max(variance, 1e-6)
    bet = lambda d, v: min(max(d / max(v + d * d, 1e-12), 0.0), 0.5 / m0)
    fixed = [bet(min(m0 * (m - 1), 0.95 - m0), variance) for m in MULTIPLES]
    weights = [0.8 * w for w in WEIGHTS] + [0.2]
    mean, v, r, a = m0, variance, [0.0] * 7, 1 - 0.5 ** (1 / 200)
    for x in losses:
        bets = fixed + [bet(mean - m0, v)]
        r = [(value + 1) * (1 + b * (x - m0)) for value, b in zip(r, bets)]
        d = x - mean
        mean += a * d
        v = (1 - a) * (v + a * d * d)
    return sum(w * value for w, value in zip(weights, r)) / length


losses = uniforms(6, 300) ** 2 + np.where(np.arange(300) < 150, 0.0, 0.1)
losses = np.minimum(losses, 1.0)
betting = {"mean": 0.34, "variance": 0.09, "worse": loss_path(0.34, 0.09, losses, 1e5)}
ps = [0.999999, 0.999, 0.9, 0.5, 0.05, 1e-6, 1e-200]
calibrated = [
    [math.log(p), math.log(1 - p + p * math.log(p)) - math.log(p) - 2 * math.log(abs(math.log(p)))]
    for p in ps[1:]
]

u = uniforms(7, 35)
days = [[0.8 + 0.05 * (x - 0.5), 1e-4 * (1 + x), 60] for x in u]


def day_test(reference, current):
    values, variances = np.array([d[0] for d in reference]), np.array([d[1] for d in reference])
    between = max(0.0, values.var(ddof=1) - variances.mean())
    w = 1 / (between + variances)
    base, results = (w * values).sum() / w.sum(), []
    for length in (1, 3, 7, 14, 28):
        if length > len(current):
            break
        own = current[-length:]
        v = 1 / (between + np.array([d[1] for d in own]))
        mean = (v * np.array([d[0] for d in own])).sum() / v.sum()
        se = math.sqrt(1 / v.sum() + 1 / w.sum())
        results.append((abs(mean - base) / se, length, mean - base, se))
    t, length, difference, se = max(results)
    df = len(reference) - 1
    half = stats.t.isf(0.025, df) * se
    return {
        "days": length, "difference": difference, "low": difference - half, "high": difference + half,
        "ln_p": min(0.0, math.log(2) + stats.t.logsf(t, df) + math.log(len(results))),
    }


window = [[d[0] - 0.02, d[1], d[2]] for d in days[28:]]
day_values = {"reference": days[:28], "current": window, "result": day_test(days[:28], window)}


def moderate(variances, d):
    """limma's squeezeVar, by root finding on the trigamma function."""
    e = np.log(variances) - digamma(d / 2) + math.log(d / 2)
    excess = e.var(ddof=1) - polygamma(1, d / 2)
    if excess <= 1e-6:
        return 1e4, math.exp(e.mean())
    half = math.exp(optimize.brentq(lambda x: float(polygamma(1, math.exp(x))) - excess, -20, 20, xtol=1e-14))
    d0 = min(2 * half, 1e4)
    return d0, math.exp(e.mean() + digamma(d0 / 2) - math.log(d0 / 2))


variances = (0.2 + uniforms(8, 30) * 3).tolist()
moderated = {"variances": variances, "degrees": 27.0, "prior": list(moderate(np.array(variances), 27.0))}

# ── estimation: rows with scores in hundredths, so that every score has a bin of its own ─────────────────

a, b = uniforms(9, 4000), uniforms(10, 4000)
scores = np.floor(a * 40) / 40
labels = b < np.clip(scores**2 + 0.05, 0, 1)
calibrated_scores = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
now = np.floor(uniforms(11, 900) ** 0.7 * 40) / 40
c, predicted = calibrated_scores.predict(now), now >= 0.5
tp, fp = c[predicted].sum(), (1 - c[predicted]).sum()
fn, tn = c[~predicted].sum(), (1 - c[~predicted]).sum()
levels = np.unique(now)
won = below = 0.0
for level in levels:
    own = now == level
    positives, negatives = c[own].sum(), (1 - c[own]).sum()
    won += positives * (below + negatives / 2)
    below += negatives
known = {level: int((scores == level).sum()) for level in levels}
# The variance of the accuracy: labels to come, and labels of the reference that each level shares.
smooth = {
    level: (calibrated_scores.predict([level])[0] * known[level] + 0.5) / (known[level] + 1) for level in levels
}
n = len(now)
variance = sum(smooth[s] * (1 - smooth[s]) for s in now) / n**2
for level in levels:
    share = (now == level).sum() / n
    variance += share**2 * smooth[level] * (1 - smooth[level]) / known[level]
worth = {"true_positive": 5.0, "false_positive": -2.0, "true_negative": 0.5, "false_negative": -4.0}
estimates = {
    "confusion": [tp, fp, fn, tn],
    "accuracy": (tp + tn) / n,
    "accuracy_error": math.sqrt(variance),
    "precision": tp / (tp + fp),
    "recall": tp / (tp + fn),
    "specificity": tn / (tn + fp),
    "f1": 2 * tp / (2 * tp + fp + fn),
    "roc_auc": won / (c.sum() * (1 - c).sum()),
    "value": (5 * tp - 2 * fp + 0.5 * tn - 4 * fn) / n,
}

# ── label shift ──────────────────────────────────────────────────────────────────────────────────────

joint = [[420, 60, 20], [100, 300, 50], [60, 80, 310], [120, 110, 70], [30, 150, 120]]


def label_shift(joint, counts):
    """Generalised least squares under the constraint, with the covariance iterated three times."""
    big, total = np.array(joint, float), np.array(counts, float)
    rows, n = big.sum(), total.sum()
    C, mu = big / rows, total / n
    q, groups, classes = C.sum(0), len(joint), len(joint[0])
    w = np.ones(classes)
    for _ in range(3):
        V = (np.diag(mu) - np.outer(mu, mu)) / n
        V += (np.diag(C @ w**2) - np.outer(C @ w, C @ w)) / rows
        V = V[: groups - 1, : groups - 1] + 1e-12 * np.eye(groups - 1)
        last = C[:, -1] / q[-1]
        X, y = (C[:, :-1] - np.outer(last, q[:-1]))[:-1], (mu - last)[:-1]
        inverse = np.linalg.inv(V)
        cov = np.linalg.inv(X.T @ inverse @ X)
        beta = cov @ X.T @ inverse @ y
        w = np.append(beta, (1 - q[:-1] @ beta) / q[-1])
    left = (y - X @ beta) @ inverse @ (y - X @ beta)
    errors = np.append(np.sqrt(np.diag(cov)), math.sqrt(q[:-1] @ cov @ q[:-1]) / q[-1])
    result = {"shares": (w * q).tolist(), "errors": (errors * q).tolist()}
    if groups > classes:
        result["ln_p"] = float(stats.chi2.logsf(left, groups - classes))
    return result


shift_counts = [260, 420, 300, 210, 260]
square, square_counts = joint[:3], [260, 420, 300]
shift = {
    "joint": joint, "counts": shift_counts, "result": label_shift(joint, shift_counts),
    "square": square, "square_counts": square_counts, "square_result": label_shift(square, square_counts),
}

# ── co-moments ───────────────────────────────────────────────────────────────────────────────────────


def coded(day, rows=60):
    """Three columns of five bins; the third follows the first on the last three days."""
    v = uniforms(100 + day, rows * 3).reshape(rows, 3)
    if day >= 12:
        v[:, 2] = np.where(np.arange(rows) % 2 == 0, v[:, 0], v[:, 2])
    return np.floor(v * 5).astype(int)


def comoments():
    counts = np.array([10, 20, 40, 20, 10], float)
    q = counts / counts.sum()
    z = stats.norm.ppf(np.cumsum(q) - q / 2)
    z = (z - q @ z) / math.sqrt(q @ (z - q @ z) ** 2)
    atanh = lambda rows: [
        math.atanh(np.corrcoef(z[rows[:, x]], z[rows[:, y]])[0, 1]) for x, y in ((1, 0), (2, 0), (2, 1))
    ]
    days = [coded(day) for day in range(15)]
    A, weight = np.array([atanh(day) for day in days]), 57.0
    usual, latest = A[:12], A[12:]
    mean = usual.mean(axis=0)
    squares = weight * (usual - mean) ** 2
    # Three variances are too few for a prior.
    f, df, tests = np.maximum(squares.sum(axis=0) / 11, 1.0), 11.0, 6
    # A day more than three deviations away widens all of them.
    f = f * np.maximum(squares.max(axis=0) / f / 9, 1.0)
    trust = np.clip(30 * 6 / f, 10, 30)
    beyond = np.maximum((f - 1) / f, 1e-9)
    df = np.minimum(df, trust / beyond**2)
    best = [0.0] * 3
    for length in (1, 3):
        se = np.sqrt(f * (1 / (length * weight) + 1 / (12 * weight)))
        t = (latest[3 - length :].mean(axis=0) - mean) / se
        p = np.log(2) + stats.t.logsf(np.abs(t), df) + math.log(tests)
        best = [min(x, y) for x, y in zip(best, p.tolist())]
    return {"scores": z.tolist(), "ln_p": best}


# ── decomposition ────────────────────────────────────────────────────────────────────────────────────

before, after = [400, 300, 200, 100], [100, 200, 300, 400]
wrong_before, wrong_after = [20, 30, 40, 40], [10, 40, 60, 200]
p, q = np.array(before) / 1000, np.array(after) / 1000
e, f = np.array(wrong_before) / before, np.array(wrong_after) / after
decomposition = {
    "before": before, "after": after, "wrong_before": wrong_before, "wrong_after": wrong_after,
    "input": float((q - p) @ e), "concept": float(q @ (f - e)),
}

with open("golden.json", "w") as file:
    json.dump(
        {
            "binomial": binomial, "student": student, "clopper": clopper, "rates": rates, "betting": betting,
            "calibrated": calibrated, "day_values": day_values, "moderated": moderated, "estimates": estimates,
            "shift": shift, "comoments": comoments(), "decomposition": decomposition,
        },
        file, indent=1, default=float,
    )
