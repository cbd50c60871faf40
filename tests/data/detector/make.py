"""Makes golden.json: p-values of the drift detector, computed from its formulas (docs/detector.md) with numpy and SciPy,
independently of the code they are held against.

    python3 -m venv venv && venv/bin/pip install numpy scipy mpmath && venv/bin/python make.py > golden.json
    venv/bin/python make.py 420 > states.json     # 420 models, 100,800 states

A model is eight features; its states are the thirty days after the reference of each. States are drawn by a
congruential generator that the test has too. What is stored is the natural logarithm of each p-value.
"""

import json
import sys

import mpmath
import numpy as np
from scipy import optimize, special, stats

WINDOWS = [1, 3, 7, 14, 28]
WINDOW_WEIGHTS = np.array([0.5, 0.22, 0.14, 0.09, 0.05])
SHAPE_WEIGHTS = [0.5, 0.12, 0.08, 0.08]
END, VALUES, UNSEEN, MISSING, WRONG = 0.05, 0.2, 0.15, 0.05, 0.02
LEAST_ROWS = 50


def speaks_for_the_last(last, days, rows):
    """Whether a window of so many days and rows has enough, and its last day enough of them."""
    return rows >= LEAST_ROWS and (last >= LEAST_ROWS or last * days >= 0.2 * rows)


class Draws:
    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2.0**53

    def whole(self, below):
        return int(self.next() * below)


def draw_feature(draws, days, rows):
    numeric = draws.next() < 0.6
    count = 3 + draws.whole(20)
    weights = [0.02 + draws.next() ** 3 for _ in range(count)]
    total = 0.0
    for w in weights:
        total += w
    wobble = 0.0 if draws.next() < 0.4 else 0.6 * draws.next()
    weekend = 0.5 if draws.next() < 0.3 else 0.0
    missing = 0.0 if draws.next() < 0.5 else 0.05 * draws.next()
    unseen = 0.0 if draws.next() < 0.5 else 0.002 * draws.next()
    change = 0.0 if draws.next() < 0.5 else draws.next()
    surge = 1.0 if draws.next() < 0.6 else 6.0 * draws.next()
    # Its outermost bins are empty in the reference.
    ranged = draws.next() < 0.5
    out = []
    for number in range(days + 30):
        held = rows * (0.5 + draws.next()) * (surge if number >= days else 1.0)
        level = wobble * (draws.next() - 0.5)
        tilt = level + (weekend if number % 7 >= 5 else 0.0) + (change if number >= days else 0.0)
        counts = []
        for b, w in enumerate(weights):
            mean = held * w / total * (1.0 + tilt * (b / count - 0.5))
            noise = draws.next() + draws.next() - 1.0
            counts.append(int(max(mean + mean**0.5 * 1.8 * noise + draws.next(), 0.0)))
        beyond = [int(held * 0.004 * (change if number >= days else 0.0) * draws.next()) for _ in range(2)]
        if numeric and ranged:
            counts[0], counts[-1] = beyond
        absent = int(held * missing * 2.0 * draws.next())
        new = int(held * unseen * (1.0 + (8.0 * change if number >= days else 0.0)) * 2.0 * draws.next())
        out.append((np.array(counts, float), absent, new))
    return numeric, count, out


def log_small_beta(a, b, x):
    """ln I_x(a, b) where it underflows: x^a (1 - x)^b / (a B(a, b)) times the series 2F1(1, a + b; a + 1; x)."""
    with mpmath.workdps(40):
        a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)
        term = total = mpmath.mpf(1)
        k = 0
        while term > total * mpmath.mpf(10) ** -25:
            term *= x * (a + b + k) / (a + 1 + k)
            total += term
            k += 1
        front = a * mpmath.log(x) + b * mpmath.log1p(-x) - mpmath.log(a)
        ln_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
        return float(front - ln_beta + mpmath.log(total))


def log_t_two_sided(t, df):
    p = 2 * stats.t.sf(abs(t), df)
    if p > 1e-280:
        return float(np.log(p))
    with mpmath.workdps(40):
        return log_small_beta(df / 2, 0.5, mpmath.mpf(df) / (mpmath.mpf(df) + mpmath.mpf(t) ** 2))


def log_beta(a, b, x):
    """ln I_x(a, b)."""
    p = special.betainc(a, b, x)
    return float(np.log(p)) if p > 1e-280 else log_small_beta(a, b, x)


def inflation(length, rho):
    lags = np.arange(1, max(length, 1))
    return 1 + 2 * float(np.sum((1 - lags / length) * rho**lags)) if length > 1 else 1.0


class Mean:
    """A score that is averaged over days."""

    first = 0

    def __init__(self, weight, pool, value, rows, skew, kurt, weekdays, share=None, kind=None):
        self.weight, self.pool, self.value, self.rows = weight, pool, value, rows
        self.skew, self.kurt, self.weekdays = skew, kurt, weekdays
        self.share, self.kind = share, kind

    def fit(self, seasonal):
        ok = self.rows > 0
        self.m, self.n, self.w = self.value[ok], self.rows[ok], self.weekdays[ok]
        self.index = np.flatnonzero(ok)
        self.seasonal = seasonal
        mu = self.means(self.n)
        self.r = self.m - mu
        self.df = len(self.m) - (len(set(self.w)) if seasonal else 1)
        self.s2 = float(np.sum(self.n * self.r**2) / self.df) if self.df > 0 else 1.0
        self.scaled = self.r * np.sqrt(self.n)

    def means(self, weights):
        """A least-squares fit with a column for each weekday, or one for all."""
        design = np.eye(7)[self.w] if self.seasonal else np.ones((len(self.m), 1))
        root = np.sqrt(weights)
        beta = np.linalg.lstsq(design * root[:, None], self.m * root, rcond=None)[0]
        return design @ beta

    def pattern_p(self):
        ok = self.rows > 0
        m, n, w = self.value[ok], self.rows[ok], self.weekdays[ok]
        if min(np.bincount(w, minlength=7)) < 2:
            return 1.0
        level = np.array([np.average(m[w == k], weights=n[w == k]) for k in range(7)])[w]
        within, flat = np.sum(n * (m - level) ** 2), np.sum(n * (m - np.average(m, weights=n)) ** 2)
        if within <= 0:
            return 1.0
        return stats.f.sf(max((flat - within) / 6 / (within / (len(m) - 7)), 0), 6, len(m) - 7)

    def finish(self, factor, df, rho, together):
        self.factor, self.dof, self.together = factor, df, max(factor, together)
        self.g = (factor - 1) / np.mean(self.n)
        weights = self.n / (1 + self.g * self.n)
        vd = inflation(len(self.m), rho)
        self.level, self.level_variance = np.zeros(7), np.full(7, np.inf)
        for k in range(7):
            pick = self.w == k if self.seasonal else np.ones(len(self.m), bool)
            if pick.any():
                om = weights[pick] / weights[pick].sum()
                self.level[k] = om @ self.m[pick]
                self.level_variance[k] = np.sum(om**2 / self.n[pick]) + self.g * vd * np.sum(om**2)

    def tests(self, value, rows, weekdays, rho, gate):
        """ln p of every window that ends with the last day; None where there is none."""
        out, before = [], 0
        for window in WINDOWS:
            m, n, w = value[-window:], rows[-window:], weekdays[-window:]
            known = (n > 0) & np.isfinite(self.level_variance[w])
            m, n, w = m[known], n[known], w[known]
            if len(m) == before or not speaks_for_the_last(rows[-1], len(m), n.sum()):
                out.append(None)
                before = len(m)
                continue
            before = len(m)
            om = n / (1 + self.g * n)
            om = om / om.sum()
            effect = om @ (m - self.level[w])
            share = np.bincount(w, weights=om, minlength=7)
            if not self.seasonal:
                reference = self.level_variance[0]
            else:
                used = share > 0
                reference = np.sum(share[used] ** 2 * self.level_variance[used])
            own = np.sum(om**2 / n) + self.g * inflation(len(m), rho) * np.sum(om**2)
            own *= self.widening(m - self.level[w] - effect, n) if len(m) > 1 else self.met(value, rows, weekdays)
            t = effect / np.sqrt(own + reference)
            total = n.sum()
            skew, kurt = np.clip(self.skew / np.sqrt(total), -0.3, 0.3), np.clip(self.kurt / total, -0.3, 0.3)
            a = np.clip(t, -8, 8)
            c = t - skew * (a**2 - 1) / 6 + skew**2 * (4 * a**3 - 7 * a) / 36 - kurt * (a**3 - 3 * a) / 24
            c = c if c * t > 0 else 0.0
            ln_p = log_t_two_sided(c, self.dof)
            if self.share is not None and self.together > 3:
                worth = self.factor / self.together / own
                now = np.clip(self.share + effect * np.sqrt(self.share * (1 - self.share)), 0, 1)
                k = worth * now
                # At least as many, or as many at most, of as many rows as the window is worth.
                tail = log_beta(k, worth - k + 1, self.share) if effect > 0 else log_beta(worth - k, k + 1, 1 - self.share)
                ln_p = max(ln_p, min(tail + np.log(2), 0.0))
            out.append(0.0 if abs(effect) < gate else ln_p)
        return out

    def widening(self, deviations, rows):
        return max(np.max(deviations**2 / (1 / rows + self.g), initial=0) / 9, 1.0)

    def met(self, value, rows, weekdays):
        """The days before that went away, on the side of the last."""
        m, n, w = value[-28:], rows[-28:], weekdays[-28:]
        known = (n > 0) & np.isfinite(self.level_variance[w])
        z = ((m - self.level[w]) / np.sqrt(1 / np.where(n > 0, n, 1) + self.g))[known][::-1]
        towards = z[1:] * np.sign(z[0])
        ordinary = np.flatnonzero(towards <= 2)
        earlier = towards[ordinary[0]:] if len(ordinary) else towards[:0]
        return max(np.max(earlier, initial=0) ** 2 / 9, 1.0)


class Count:
    """A score that is counted."""

    def __init__(self, weight, share, count, rows, windows=5, gated=True, kind=None):
        self.weight, self.share, self.windows, self.gated, self.kind = weight, share, windows, gated, kind
        self.count, self.rows = count, rows

    def finish(self, known, rho, clumping):
        ok = self.rows > 0
        u, n = self.count[ok], self.rows[ok]
        rate, df, s2 = u.sum() / max(n.sum(), 1), len(u) - 1, 1.0
        if rate > 0 and df > 0:
            s2 = np.sum((u - n * rate) ** 2 / (n * rate)) / df
        self.f = max(s2, clumping) if known else 1.0
        self.rate = min((u.sum() + 2 * np.sqrt(u.sum() * self.f) + 2) / max(n.sum(), 1), 1.0)
        cap = 1e4 if self.f <= 1 else min(8 / ((self.f - 1) / self.f) ** 2, 1e4)
        self.df = min(max(df, 1), cap)
        self.total, self.vd = max(n.sum(), 1.0), inflation(len(u), rho)
        self.usual = np.sort(n)[len(n) // 2] if len(n) else None

    def tests(self, count, rows, rho, gate):
        out, before = [], 0
        for place, window in enumerate(WINDOWS):
            u, n = count[-window:], rows[-window:]
            u, n = u[n > 0], n[n > 0]
            k, total, days = u.sum(), n.sum(), len(n)
            if place >= self.windows or days == before or not speaks_for_the_last(rows[-1], days, total) or k == 0:
                out.append(None)
                before = days
                continue
            before = days
            now = k / total
            reference = self.share if self.share > 0 else now
            deviation = np.sqrt(reference * (1 - reference))
            effect = (now - self.share) / deviation if deviation > 0 else np.inf
            if self.gated and abs(effect) < gate:
                out.append(0.0)
                continue
            mean = total * self.rate
            f = 1.0
            if self.f > 1:
                # What days differ by moves all rows of a day, so it grows with them.
                times = max(np.sum(n**2) / total / max(self.usual, 1), 1.0)
                f = (1 + (self.f - 1) * times) * inflation(days, rho) + self.f * self.vd * total / self.total
            if days > 1:
                f = max(f, np.sum((u - n * now) ** 2 / (n * now)) / (days - 1))
            if f <= 1:
                out.append(log_beta(k, total - k + 1, self.rate) if k <= total else -np.inf)
                continue
            t = (k - mean) / np.sqrt(mean * f)
            by_count = log_beta(k, mean / (f - 1), 1 - 1 / f)
            by_variance = log_t_two_sided(t, self.df) - np.log(2) if t >= 0 else np.log1p(-np.exp(log_t_two_sided(t, self.df)) / 2)
            out.append(max(by_count, by_variance))
        return out


def polynomials(q):
    """Orthonormal polynomials of the middle ranks, by QR of powers, on all bins."""
    u = np.cumsum(q) - q / 2
    degree = min(4, int((q > 0).sum()) - 1)
    if degree < 1:
        return []
    powers = np.polynomial.legendre.legvander(2 * u - 1, degree)
    r = np.linalg.qr(np.sqrt(q)[:, None] * powers)[1]
    basis = np.linalg.solve(r.T, powers.T)
    return [row * np.sign(r[i, i]) for i, row in enumerate(basis)][1:]


def ends(held, watched):
    """The bins of the low end, those of the high end, and the outermost, where the reference has nothing in them."""
    found, far = [], []
    for side in (range(len(held)), range(len(held) - 1, -1, -1)):
        outermost, following = side[0], side[1]
        is_far = held[outermost] == 0 and following != watched
        taken, running = [], 0.0
        for b in side:
            running += held[b]
            if running > 0.005 * held.sum() or b == watched:
                break
            taken.append(b)
        if not taken and outermost != watched:
            taken = [outermost]
        if is_far:
            far.append(outermost)
            taken = [] if taken == [outermost] else taken
        found.append(taken)
    return found, far


def limma(scores):
    s2, df = np.array([s.s2 for s in scores]), np.array([s.df for s in scores], float)
    if len(scores) < 4:
        return 0.0, 1.0, df.sum()
    e = np.log(np.maximum(s2, 1e-3)) - special.digamma(df / 2) + np.log(df / 2)
    v = e.var(ddof=1) - special.polygamma(1, df / 2).mean()
    if v <= 1e-6:
        return 1e4, np.exp(e.mean()), df.sum()
    if v > 1e7:
        half = v**-0.5
    elif v < 1e-6:
        half = 1 / v
    else:
        half = np.exp(optimize.brentq(lambda z: np.log(special.polygamma(1, np.exp(z)) / v), -20, 20, xtol=1e-15, rtol=1e-15))
    return min(2 * half, 1e4), np.exp(e.mean() + special.digamma(half) - np.log(half)), df.sum()


def trust(pool, factor):
    if pool[0] == "shape" and pool[1] > 0:
        return 4.0
    most, least = (30.0, 10.0) if pool[0] == "shape" else (20.0, 8.0)
    return float(np.clip(most * 6 / factor, least, most))


class Feature:
    @staticmethod
    def looked(share, per_day):
        """The first window in which a category is averaged, -1 if it is counted, None if neither."""
        rarer = min(share, 1 - share)
        enough = [place for place, window in enumerate(WINDOWS) if rarer * per_day * window >= 15]
        if enough and (enough[0] == 0 or rarer >= 0.05 or share > 0.5):
            return enough[0]
        return -1 if share <= 0.5 else None

    def __init__(self, numeric, bins, days, reference_days):
        self.days = days
        weekdays = np.arange(len(days)) % 7
        counts = np.array([d[0] for d in days])
        self.v = counts.sum(1)
        absent, new = np.array([d[1] for d in days], float), np.array([d[2] for d in days], float)
        rows = self.v + absent
        self.series, ref = [], slice(0, reference_days)
        keep = ref
        n_days = reference_days
        q = counts[keep].sum(0) / self.v[keep].sum()
        per_day, rows_per_day = self.v[keep].sum() / n_days, rows[keep].sum() / n_days
        self.known = (self.v[keep] > 0).sum() >= 14

        def mean(weight, pool, value, n, skew, kurt, share=None, kind=None):
            score = Mean(weight, pool, value[ref], n[ref], skew, kurt, weekdays[ref], share, kind)
            self.series.append((score, value, n))

        def count(weight, share, k, n, **more):
            self.series.append((Count(weight, share, k[ref], n[ref], **more), k, n))

        def share_score(weight, pool, share, k, n, expected, kind):
            if min(share, 1 - share) * expected < 15:
                count(weight, share, k, n, kind=kind)
                return
            share_mean(weight, pool, share, k, n, kind)

        def share_mean(weight, pool, share, k, n, kind, first=0):
            if pool == "share":
                pool = "large" if share * (1 - share) > 0.05 else "small"
            sd = np.sqrt(share * (1 - share))
            with np.errstate(invalid="ignore"):
                value = np.where(n > 0, (k / n - share) / sd, 0)
            mean(weight, pool, value, n, (1 - 2 * share) / sd, (1 - 6 * sd**2) / sd**2, share, kind)
            self.series[-1][0].first = first

        if numeric:
            for degree, phi in enumerate(polynomials(q)):
                mean(SHAPE_WEIGHTS[degree], ("shape", degree), counts @ phi / self.v, self.v, q @ phi**3, q @ phi**4 - 3)
            watched = 2 if bins > 6 else None
            sides, far = ends(counts[keep].sum(0), watched) if bins > 1 else ([], [])
            for end in sides:
                if end:
                    count(END, q[end].sum(), counts[:, end].sum(1), self.v, windows=2, kind="end")
            if far:
                # As of new categories the effect is measured against the window's own share.
                count(END, 0.0, counts[:, far].sum(1), self.v, windows=2, kind="end")
            if watched is not None and (q > 0).sum() > 2:
                share_score(VALUES, "share", q[watched], counts[:, watched], self.v, per_day, "value")
        else:
            occupied = list(np.flatnonzero(q > 0))
            looked = [(b, self.looked(q[b], per_day)) for b in occupied] if len(occupied) > 1 else []
            looked = [(b, first) for b, first in looked if first is not None]
            if len(occupied) == 2 and len(looked) == 2 and all(first >= 0 for _, first in looked):
                looked = [min(looked, key=lambda one: q[one[0]])]
            weight = (VALUES + sum(SHAPE_WEIGHTS)) / max(len(looked), 1)
            for b, first in looked:
                if first < 0:
                    count(weight, q[b], counts[:, b], self.v, kind="category")
                else:
                    share_mean(weight, "share", q[b], counts[:, b], self.v, "category", first)
            count(UNSEEN, 0.0, new, self.v, windows=4, gated=False, kind="unseen")
        share_score(MISSING, "presence", absent[keep].sum() / rows[keep].sum(), absent, rows, rows_per_day, "presence")
        share_score(WRONG, "presence", 0.0, absent * 0, rows, rows_per_day, "presence")
        self.weekdays = weekdays
        means = [s for s, _, _ in self.series if isinstance(s, Mean)]
        self.seasonal = self.known and bool(means) and min(s.pattern_p() for s in means) < 1e-3 / len(means)
        for s in means:
            s.fit(self.seasonal)
            if self.known:
                left = s.df / len(s.r)
                others = (s.s2 * s.df - s.scaled**2 / left) / (s.df - 1)
                far = np.abs(s.scaled) / np.sqrt(np.maximum(others, 1) * left) > 10
                assert not np.any(far & (others < 4)), "an outlier in the reference"


def model(seed):
    draws = Draws(seed)
    days = [10, 28, 28, 35, 56][draws.whole(5)]
    rows = [120.0, 400.0, 1000.0, 20000.0][draws.whole(4)]
    features = [Feature(*draw_feature(draws, days, rows), days) for _ in range(8)]
    pools = {}
    for f in features:
        for s, _, _ in f.series:
            if isinstance(s, Mean) and f.known and s.df > 0:
                pools.setdefault(s.pool, []).append(s)
    priors = {pool: limma(scores) for pool, scores in pools.items()}
    wandering = [s for scores in pools.values() for s in scores if s.s2 > 1.5]
    rho = 0.0
    if len(wandering) >= 5:
        r1 = lambda s: np.sum((s.scaled[1:] * s.scaled[:-1])[np.diff(s.index) == 1]) / np.sum(s.scaled**2)
        raw = sum(r1(s) * s.s2 for s in wandering) / sum(s.s2 - 1 for s in wandering)
        d = np.mean([len(s.m) for s in wandering])
        if raw > 2 / np.sqrt(d * len(wandering)):
            rho = float(np.clip((raw + 1 / d) / (1 - 4 / d), 0, 0.85))
    out = []
    for f in features:
        gate = 0.05 if f.known else 0.1
        total = sum(s.weight for s, _, _ in f.series)
        for s, _, _ in f.series:
            means = [x for x, _, _ in f.series if isinstance(x, Mean)]
            centre = [x for x in means if x.pool == ("shape", 0)]
            alike = {
                "end": centre,
                "value": [x for x in centre if np.mean(x.n) < 2 * x.s2],
                "unseen": [x for x in means if x.kind == "category"],
            }.get(s.kind, [])
            clumping = sorted(x.s2 for x in alike)[len(alike) // 2] if alike else 1.0
            clumping = clumping if clumping > 3 else 1.0
            if isinstance(s, Count):
                s.finish(f.known, rho, clumping)
            elif f.known and s.df > 0:
                d0, s0, most = priors[s.pool]
                factor = max((d0 * s0 + s.df * max(s.s2, 1e-3)) / (d0 + s.df), 1.0)
                df = min(d0 + s.df, max(most, s.df), 1e4)
                peak = np.max(s.scaled**2 / (s.df / len(s.r))) / factor / 9
                factor *= max(peak, 1.0)
                if factor > 1:
                    # Of so few rows as a day is worth the mean has their tails: Student's with the same kurtosis.
                    tails = 4 + 6 * np.mean(s.n) / factor / s.kurt if s.kurt > 0 else np.inf
                    df = min(df, min(trust(s.pool, factor), tails) / ((factor - 1) / factor) ** 2)
                s.finish(factor, df, rho, clumping)
            else:
                s.finish(1.0, 1e4, rho, clumping)
        for last in range(days, days + 30):
            best = np.inf
            recent = slice(days, last + 1)
            for s, value, n in f.series:
                part = s.weight / total
                if isinstance(s, Mean):
                    tests = s.tests(value[recent], n[recent], f.weekdays[recent], rho, gate)
                    weights = np.where(np.arange(5) < s.first, 0, WINDOW_WEIGHTS)
                else:
                    tests = s.tests(value[recent], n[recent], rho, gate)
                    weights = np.where(np.arange(5) < s.windows, WINDOW_WEIGHTS, 0)
                if s.kind == "presence":
                    weights = np.where(np.arange(5) < 1, 0, weights)
                weights = weights / weights.sum()
                for ln_p, weight in zip(tests, weights):
                    if ln_p is not None and weight > 0:
                        best = min(best, ln_p - np.log(part * weight))
            out.append(float(min(best, 0.0)))
    return out


if __name__ == "__main__":
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(json.dumps([model(seed) for seed in range(1, models + 1)]))
