"""Makes golden.json: values of numpy, SciPy and scikit-learn that src/stats/multivariate.rs and attribution.rs are held
against.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 scikit-learn==1.9.1 && venv/bin/python make.py

Rows are not stored but drawn by a congruential generator that the tests have too.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA
from sklearn.metrics import ndcg_score, roc_auc_score
from sklearn.preprocessing import StandardScaler


def uniforms(seed, count):
    state, values = seed, np.empty(count)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values[i] = (state >> 11) / 2.0**53
    return values


def rows(seed, count, columns, mix):
    """Uniform numbers, each column mixed with the one before it."""
    drawn = uniforms(seed, count * columns).reshape(count, columns)
    mixed = drawn.copy()
    for column in range(1, columns):
        mixed[:, column] = mix * mixed[:, column - 1] + (1 - mix) * drawn[:, column] ** 2
    return mixed


def reconstruction(p, q):
    fitted, asked = p[::2], p[1::2]
    scaler = StandardScaler().fit(fitted)
    scaled = scaler.transform(fitted)
    kept = PCA(n_components=0.65, svd_solver="full").fit(scaled).n_components_
    # At least one component is left out, or there would be no error.
    pca = PCA(n_components=min(kept, p.shape[1] - 1), svd_solver="full").fit(scaled)

    def left(side):
        side = scaler.transform(side)
        return side - pca.inverse_transform(pca.transform(side))

    before, now = left(asked), left(q)
    lengths = [np.linalg.norm(side, axis=1) for side in (before, now)]
    z = stats.ttest_ind(lengths[1], lengths[0], equal_var=False).statistic
    return dict(
        components=int(pca.n_components_),
        reference=float(lengths[0].mean()),
        current=float(lengths[1].mean()),
        ln_p=float(np.log(2) + stats.norm.logsf(abs(z))),
        residuals=[float(v) for v in (now**2).mean(axis=0) - (before**2).mean(axis=0)],
    )


def correlation(p, q):
    r, s = np.corrcoef(p.T), np.corrcoef(q.T)
    error = np.sqrt(1 / (len(p) - 3) + 1 / (len(q) - 3))
    pairs = [(a, b) for b in range(p.shape[1]) for a in range(b)]
    z = {pair: (np.arctanh(s[pair]) - np.arctanh(r[pair])) / error for pair in pairs}
    most = max(pairs, key=lambda pair: abs(z[pair]))
    ln_p = np.log(2) + stats.norm.logsf(abs(z[most])) + np.log(len(pairs))
    return dict(columns=most, reference=float(r[most]), current=float(s[most]), ln_p=float(min(ln_p, 0.0)))


def discrepancy(p, q):
    some = p[:: -(-len(p) // 200)]
    width = np.median(pdist(some))

    def kernel(distances):
        return np.exp(-(distances**2) / (2 * width**2))

    fewer = min(len(p), len(q))
    blocks = fewer // int(np.sqrt(fewer))
    n, m = (min(len(side) // blocks, 4 * fewer // blocks) for side in (p, q))
    h = []
    for block in range(blocks):
        x, y = p[block * n : (block + 1) * n], q[block * m : (block + 1) * m]
        h.append(kernel(pdist(x)).mean() + kernel(pdist(y)).mean() - 2 * kernel(cdist(x, y)).mean())
    h = np.array(h)
    t = h.mean() / np.sqrt(h.var(ddof=1) / blocks)
    ln_p = stats.t.logsf(t, blocks - 1)
    return dict(squared=float(h.mean()), bandwidth=float(width), blocks=blocks, ln_p=float(ln_p))


def mean_shift(p, q):
    floor = np.sqrt(p.var(axis=0).sum() * (1 / len(p) + 1 / len(q)))
    return dict(distance=float(np.linalg.norm(p.mean(axis=0) - q.mean(axis=0))), noise_floor=float(floor))


CASES = [
    # seed, reference, current, columns, mix of the reference, mix of the current data
    (1, 400, 300, 3, 0.5, 0.5),
    (2, 401, 250, 5, 0.7, 0.2),
    (3, 2000, 1500, 8, 0.3, 0.35),
    (4, 60, 41, 2, 0.0, 0.9),
]
RANKED = [
    ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]),
    ([0.5, 0.5, 0.2, 0.1], [0.3, 0.3, 0.3, 0.0]),
    ([9.0, 1.0, 4.0, 4.0, 0.0], [2.0, 2.0, 8.0, 0.1, 5.0]),
]

cases = []
for seed, n, m, columns, before, now in CASES:
    p, q = rows(seed, n, columns, before), rows(seed + 1000, m, columns, now)
    cases.append(
        dict(
            seed=seed, reference=n, current=m, columns=columns, before=before, now=now,
            reconstruction=reconstruction(p, q), correlation=correlation(p, q),
            discrepancy=discrepancy(p, q), mean_shift=mean_shift(p, q),
        )
    )
areas = []
for seed, levels in [(11, 0), (12, 7)]:
    low, high = uniforms(seed, 150), uniforms(seed + 1000, 90) + 0.2
    if levels:
        low, high = np.floor(low * levels), np.floor(high * levels)
    truth = np.r_[np.zeros(len(low)), np.ones(len(high))]
    areas.append(dict(seed=seed, levels=levels, area=float(roc_auc_score(truth, np.r_[low, high]))))
ranked = [dict(reference=p, current=q, ndcg=float(ndcg_score([p], [q]))) for p, q in RANKED]
golden = dict(cases=cases, areas=areas, ranked=ranked)
Path(__file__).with_name("golden.json").write_text(json.dumps(golden, indent=1) + "\n")
