"""Makes golden.json beside this file: made-up outcomes and what trusted implementations say of them.

    python golden.py

needs numpy, scikit-learn, statsmodels and fairlearn; the versions used are in the result. What no package computes is
written out here in the plainest way: DeLong's variance over all pairs, derivatives of the delta method by
differences, bins by a loop.
"""

import json
import pathlib

import fairlearn
import fairlearn.metrics as fair
import numpy as np
import sklearn
import sklearn.metrics as sk
import statsmodels
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

Z = 1.959963984540054
rng = np.random.default_rng(20130214)


def wilson(k, n):
    return list(map(float, proportion_confint(k, n, method="wilson")))


def wald(v, var, lo=-np.inf, hi=np.inf):
    h = Z * np.sqrt(var)
    return [float(max(v - h, lo)), float(min(v + h, hi))]


def mean_of(x, lo=-np.inf, hi=np.inf):
    x = np.asarray(x, float)
    return wald(x.mean(), x.var(ddof=1) / len(x), lo, hi)


def delta(f, counts):
    """Multinomial delta method with derivatives by central differences."""
    counts = np.asarray(counts, float)
    n = counts.sum()
    p = counts / n
    g = np.zeros_like(p)
    for i in np.ndindex(p.shape):
        h = 1e-6
        a, b = p.copy(), p.copy()
        a[i] += h
        b[i] -= h
        g[i] = (f(a) - f(b)) / (2 * h)
    var = ((p * g**2).sum() - (p * g).sum() ** 2) / n
    return wald(f(p), var, *((0, 1) if p.ndim == 2 and p.shape != (4,) else (-1, 1)))


def delong(s, y):
    pos, neg = s[y], s[~y]
    psi = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    return psi.mean(), psi.mean(1).var(ddof=1) / len(pos) + psi.mean(0).var(ddof=1) / len(neg)


def ece(conf, ok, ids):
    return float(sum((ids == i).mean() * abs(ok[ids == i].mean() - conf[ids == i].mean()) for i in np.unique(ids)))


def ece_interval(conf, ok, ids):
    gaps = np.zeros(len(conf))
    for i in np.unique(ids):
        k = ids == i
        gaps[k] = np.sign(ok[k].mean() - conf[k].mean() or 1) * (ok[k] - conf[k])
    return mean_of(gaps, 0, 1)


def binary():
    y = rng.random(500) < 0.3
    s = np.round(1 / (1 + np.exp(-(rng.normal(size=500) + 1.2 * y - 1))), 2)
    s[:20] = rng.random(20)
    p = s >= 0.4
    tn, fp, fn, tp = map(int, sk.confusion_matrix(y, p).ravel())
    cells = np.array([tp, fp, tn, fn], float)

    def mcc(c):
        tp, fp, tn, fn = c
        return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))

    auc, var = delong(s, y)
    ap = float(sk.average_precision_score(y, s))
    logit = np.log(ap / (1 - ap))
    tau = Z / np.sqrt(y.sum() * ap * (1 - ap))
    expit = lambda x: float(1 / (1 + np.exp(-x)))
    fpr, tpr, _ = sk.roc_curve(y, s, drop_intermediate=False)
    at = int(np.argmax(np.abs(tpr - fpr)))
    hits, alarms = round(tpr[at] * y.sum()), round(fpr[at] * (~y).sum())
    prec, rec, _ = sk.precision_recall_curve(y, s)
    width = np.minimum((s * 10).astype(int), 9)
    edges = np.unique(np.quantile(s, np.linspace(0, 1, 11)))
    quant = np.clip(np.searchsorted(edges, s, side="left") - 1, 0, len(edges) - 2)
    # The mean over all orders of equal scores of the positives in the top tenth.
    top, found, order = 50, 0.0, sorted(set(s), reverse=True)
    for v in order:
        k = s == v
        part = min(top, k.sum())
        found += part * y[k].mean()
        top -= part
    worth = np.where(p & y, 10.0, np.where(p & ~y, -1.5, np.where(~p & ~y, 0.25, -20.0)))
    recall, spec = tp / (tp + fn), tn / (tn + fp)
    wr, ws = wilson(tp, tp + fn), wilson(tn, tn + fp)
    bal = (recall + spec) / 2
    jl, jh = wilson(tp, tp + fp + fn)
    return {
        "rows": [[float(a), bool(b), bool(c)] for a, b, c in zip(s, p, y)],
        "values": {
            "accuracy": [sk.accuracy_score(y, p), wilson(tp + tn, 500)],
            "precision": [sk.precision_score(y, p), wilson(tp, tp + fp)],
            "recall": [sk.recall_score(y, p), wr],
            "specificity": [sk.recall_score(~y, ~p), ws],
            "balanced_accuracy": [
                sk.balanced_accuracy_score(y, p),
                [
                    bal - np.hypot(recall - wr[0], spec - ws[0]) / 2,
                    bal + np.hypot(wr[1] - recall, ws[1] - spec) / 2,
                ],
            ],
            "f1": [sk.f1_score(y, p), [2 * jl / (1 + jl), 2 * jh / (1 + jh)]],
            "mcc": [sk.matthews_corrcoef(y, p), delta(mcc, cells)],
            "roc_auc": [sk.roc_auc_score(y, s), wald(auc, var, 0, 1)],
            "average_precision": [ap, [expit(logit - tau), expit(logit + tau)]],
            "pr_auc_trapezoid": [sk.auc(rec, prec), None],
            "kolmogorov_smirnov": [
                float(np.max(np.abs(tpr - fpr))),
                list(map(float, confint_proportions_2indep(hits, y.sum(), alarms, (~y).sum(), method="newcomb"))),
            ],
            "lift": [found / 50 / y.mean(), [w / y.mean() for w in wilson(found, 50)]],
            "log_loss": [sk.log_loss(y, s), mean_of(-np.log(np.where(y, s, 1 - s)), 0)],
            "brier": [sk.brier_score_loss(y, s), mean_of((s - y) ** 2, 0, 1)],
            "ece_width": [ece(s, y, width), ece_interval(s, y, width)],
            "ece_quantile": [ece(s, y, quant), ece_interval(s, y, quant)],
            "calibration_noise": [
                float(sum(np.sqrt(2 * (s[width == i] * (1 - s[width == i])).sum() / np.pi) for i in np.unique(width)) / 500),
                None,
            ],
            "value_per_prediction": [float(worth.mean()), mean_of(worth)],
        },
    }


def multiclass():
    names, n = np.array(["a", "b", "c", "d"]), 400
    y = rng.choice(4, size=n, p=[0.5, 0.3, 0.15, 0.05])
    raw = rng.gamma(0.7, size=(n, 4)) + 1.1 * np.eye(4)[y] * (rng.random((n, 1)) < 0.6)
    P = raw / raw.sum(1, keepdims=True)
    p = P.argmax(1)
    p[:15] = rng.integers(0, 4, 15)
    p = np.where(p == 3, 0, p)  # the last class is never predicted
    C = sk.confusion_matrix(y, p, labels=range(4)).astype(float)

    def average(kind, how):
        def f(c):
            row, col, d = c.sum(1), c.sum(0), np.diag(c)
            num, den = {"precision": (d, col), "recall": (d, row), "f1": (2 * d, row + col)}[kind]
            v = np.divide(num, den, out=np.zeros(4), where=den > 1e-9)
            return v.mean() if how == "macro" else (v * row / row.sum()).sum()

        def on_cells(q):
            full = np.zeros((4, 4))
            full[C > 0] = q
            return f(full)

        counts = C[C > 0]
        q = counts / n
        g = np.array([(on_cells(q + 1e-6 * e) - on_cells(q - 1e-6 * e)) / 2e-6 for e in np.eye(len(q))])
        return wald(on_cells(q), ((q * g**2).sum() - (q * g).sum() ** 2) / n, 0, 1)

    def area(weights):
        value, parts = 0.0, np.zeros(n)
        for c in range(4):
            own = y == c
            psi = (P[own, c][:, None] > P[~own, c][None, :]) + 0.5 * (P[own, c][:, None] == P[~own, c][None, :])
            a = psi.mean()
            value += weights[c] * a
            parts[own] += weights[c] * (psi.mean(1) - a) * n / own.sum()
            parts[~own] += weights[c] * (psi.mean(0) - a) * n / (~own).sum()
        return wald(value, (parts**2).sum() / n**2, 0, 1)

    share = np.bincount(y, minlength=4) / n
    right = int((p == y).sum())
    score = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
    values = {
        "accuracy": [right / n, wilson(right, n)],
        "balanced_accuracy": [sk.balanced_accuracy_score(y, p), average("recall", "macro")],
        "roc_auc_macro": [sk.roc_auc_score(y, P, multi_class="ovr", average="macro"), area(np.full(4, 0.25))],
        "roc_auc_weighted": [sk.roc_auc_score(y, P, multi_class="ovr", average="weighted"), area(share)],
        "roc_auc_one_vs_one": [sk.roc_auc_score(y, P, multi_class="ovo", average="macro"), None],
        "log_loss": [sk.log_loss(y, P), mean_of(-np.log(P[range(n), y]), 0)],
        "brier": [float(((P - np.eye(4)[y]) ** 2).sum(1).mean()), mean_of(((P - np.eye(4)[y]) ** 2).sum(1), 0, 2)],
    }
    for k in (1, 2, 3):
        hits = int(round(sk.top_k_accuracy_score(y, P, k=k) * n))
        values[f"top_{k}"] = [sk.top_k_accuracy_score(y, P, k=k), wilson(hits, n)]
    for kind in score:
        for how in ("macro", "weighted", "micro"):
            v = score[kind](y, p, average=how, zero_division=0)
            interval = wilson(right, n) if how == "micro" or (kind, how) == ("recall", "weighted") else average(kind, how)
            values[f"{kind}_{how}"] = [v, interval]
        for c, v in enumerate(score[kind](y, p, average=None, zero_division=0)):
            values[f"{kind}[{names[c]}]"] = [float(v), None]
    for c in range(4):
        values[f"roc_auc[{names[c]}]"] = [sk.roc_auc_score(y == c, P[:, c]), None]
        values[f"average_precision[{names[c]}]"] = [sk.average_precision_score(y == c, P[:, c]), None]
    conf, top = P.max(1), P.argmax(1)
    ids = np.minimum((conf * 10).astype(int), 9)
    values["ece"] = [ece(conf, top == y, ids), ece_interval(conf, top == y, ids)]
    return {
        "classes": names.tolist(),
        "rows": [[names[a], list(map(float, b)), names[c]] for a, b, c in zip(p, P, y)],
        "values": values,
    }


def regression():
    n = 300
    y = np.round(rng.gamma(2, 10, n), 1)
    y[:12] = 0
    p = np.round(y * rng.normal(1, 0.2, n) + rng.normal(1, 4, n), 2)
    p[0] = 0
    e, a = p - y, np.abs(p - y)
    k = y != 0
    both = np.abs(p) + np.abs(y)
    smape = np.where(both == 0, 0, 2 * a / np.where(both == 0, 1, both))
    A, B = (e**2).mean(), ((y - y.mean()) ** 2).mean()
    influence = ((e**2) - A / B * (y - y.mean()) ** 2) / B
    r2 = sk.r2_score(y, p)
    mse = mean_of(e**2, 0)

    def order(x, q):
        x = np.sort(x)
        h = Z * np.sqrt(n * q * (1 - q))
        return [float(x[max(int(np.floor(n * q - h)), 1) - 1]), float(x[min(int(np.ceil(n * q + h)) + 1, n) - 1])]

    history = np.cumsum(rng.normal(size=60)) + 10 * np.sin(np.arange(60) * 2 * np.pi / 7)
    scale = np.abs(history[7:] - history[:-7]).mean()
    return {
        "rows": [[float(a), float(b)] for a, b in zip(p, y)],
        "history": history.tolist(),
        "season": 7,
        "values": {
            "mae": [sk.mean_absolute_error(y, p), mean_of(a, 0)],
            "mse": [sk.mean_squared_error(y, p), mse],
            "rmse": [sk.root_mean_squared_error(y, p), [float(np.sqrt(v)) for v in mse]],
            "bias": [float(e.mean()), mean_of(e)],
            "mape": [sk.mean_absolute_percentage_error(y[k], p[k]), mean_of(a[k] / y[k], 0)],
            "smape": [float(smape.mean()), mean_of(smape, 0, 2)],
            "r2": [r2, wald(r2, (influence**2).sum() / n**2, hi=1)],
            "median_absolute_error": [sk.median_absolute_error(y, p), order(a, 0.5)],
            "absolute_quantile_90": [float(np.quantile(a, 0.9)), order(a, 0.9)],
            "error_quantile_05": [float(np.quantile(e, 0.05)), order(e, 0.05)],
            "max_error": [sk.max_error(y, p), None],
            "mase": [float(a.mean() / scale), [v / scale for v in mean_of(a, 0)]],
        },
    }


def ranking():
    queries, ndcg, ap, rr, hit = [], [], [], [], []
    for q in range(60):
        s, r = rng.normal(size=12), rng.choice(4, size=12, p=[0.6, 0.2, 0.15, 0.05]).astype(float)
        s = s + 0.5 * r
        if r.max() == 0:
            r[0] = 1.0
        queries.append([[float(a), float(b)] for a, b in zip(s, r)])
        ndcg.append(sk.ndcg_score([r], [s], k=5))
        ranked = r[np.argsort(-s)] > 0
        found = [(ranked[: i + 1].mean()) for i in range(5) if ranked[i]]
        ap.append(sum(found) / min((r > 0).sum(), 5))
        first = int(np.argmax(ranked))
        rr.append(1 / (first + 1) if first < 5 else 0.0)
        hit.append(first < 5)
    tied = [[0.5, 1.0], [0.5, 0.0], [0.4, 3.0], [0.4, 0.0], [0.4, 1.0]]
    return {
        "queries": queries,
        "values": {
            "ndcg": [float(np.mean(ndcg)), mean_of(ndcg, 0, 1)],
            "map": [float(np.mean(ap)), mean_of(ap, 0, 1)],
            "mrr": [float(np.mean(rr)), mean_of(rr, 0, 1)],
            "hit_rate": [float(np.mean(hit)), wilson(int(np.sum(hit)), 60)],
            "average_precision_uncut": [
                float(np.mean([sk.average_precision_score([b > 0 for _, b in q], [a for a, _ in q]) for q in queries])),
                None,
            ],
        },
        "tied": tied,
        "tied_ndcg_3": sk.ndcg_score([[r for _, r in tied]], [[s for s, _ in tied]], k=3),
    }


def forecasts():
    n = 250
    centre, actual = rng.normal(size=n) * 5, None
    actual = centre + rng.normal(size=n) * 2
    low, high = centre - 2.4, centre + 2.7
    held = (low <= actual) & (actual <= high)
    score = (high - low) + 2 / 0.2 * (np.maximum(low - actual, 0) + np.maximum(actual - high, 0))
    above = actual - low
    loss = np.maximum(0.1 * above, -0.9 * above)
    return {
        "rows": [[float(a), float(b), float(c)] for a, b, c in zip(low, high, actual)],
        "values": {
            "pinball_10": [sk.mean_pinball_loss(actual, low, alpha=0.1), mean_of(loss, 0)],
            "pinball_90": [sk.mean_pinball_loss(actual, high, alpha=0.9), None],
            "interval_coverage": [float(held.mean()), wilson(int(held.sum()), n)],
            "interval_width": [float((high - low).mean()), None],
            "interval_score": [float(score.mean()), mean_of(score, 0)],
        },
    }


def fairness():
    n = 600
    g = rng.choice(["x", "y", "z"], size=n, p=[0.5, 0.35, 0.15])
    y = rng.random(n) < 0.4
    p = rng.random(n) < np.where(y, 0.7, 0.25) - 0.12 * (g == "y")

    def both(rates, counts):
        top, bottom = max(rates, key=rates.get), min(rates, key=rates.get)
        (a, n1), (b, n2) = counts[top], counts[bottom]
        low, high = confint_proportions_2indep(a, n1, b, n2, method="newcomb", alpha=0.05 / 3)
        # Donner and Zou (2012), from both Wilson intervals at the same level; the smaller rate is above.
        (r, s) = (b / n2, a / n1)
        l1, u1 = map(float, proportion_confint(b, n2, alpha=0.05 / 3, method="wilson"))
        l2, u2 = map(float, proportion_confint(a, n1, alpha=0.05 / 3, method="wilson"))
        from_below = (r * s - np.sqrt((r * s) ** 2 - l1 * u2 * (2 * r - l1) * (2 * s - u2))) / (u2 * (2 * s - u2))
        from_above = (r * s + np.sqrt((r * s) ** 2 - u1 * l2 * (2 * r - u1) * (2 * s - l2))) / (l2 * (2 * s - l2))
        return [float(max(low, 0)), float(high)], [float(from_below), float(from_above)]

    selected = {k: (int(p[g == k].sum()), int((g == k).sum())) for k in "xyz"}
    caught = {k: (int(p[(g == k) & y].sum()), int(((g == k) & y).sum())) for k in "xyz"}
    rates = lambda counts: {k: a / b for k, (a, b) in counts.items()}
    s_diff, s_ratio = both(rates(selected), selected)
    t_diff, t_ratio = both(rates(caught), caught)
    return {
        "rows": [[str(a), bool(b), bool(c)] for a, b, c in zip(g, p, y)],
        "values": {
            "demographic_parity_difference": [fair.demographic_parity_difference(y, p, sensitive_features=g), s_diff],
            "demographic_parity_ratio": [fair.demographic_parity_ratio(y, p, sensitive_features=g), s_ratio],
            "equal_opportunity_difference": [fair.equal_opportunity_difference(y, p, sensitive_features=g), t_diff],
            "equal_opportunity_ratio": [fair.equal_opportunity_ratio(y, p, sensitive_features=g), t_ratio],
        },
    }


made = {
    "versions": {
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "statsmodels": statsmodels.__version__,
        "fairlearn": fairlearn.__version__,
    },
    "binary": binary(),
    "multiclass": multiclass(),
    "regression": regression(),
    "ranking": ranking(),
    "forecasts": forecasts(),
    "fairness": fairness(),
}
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(made, default=float) + "\n")
