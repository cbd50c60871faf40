"""Makes azure_*.csv and sagemaker_*.csv: what the published rules of two services give for the windows of the other files.

    python3 -m venv venv && venv/bin/pip install scipy==1.17.1 numpy==2.4.6 pandas==2.3.3 pyarrow && venv/bin/python rules.py

Neither service can be run outside of its cloud. Their rules are public: of Azure Machine Learning the components of its
monitoring (Azure/azureml-assets, assets/model_monitoring/components), of SageMaker Model Monitor the library it compares
distributions with (awslabs/deequ, analyzers/Distance.scala). They are written down here with the functions of SciPy, which
Azure's components call themselves, without a look at src/stats.

Beside whole windows there are small ones, the first 700 rows of a window against the first 2,000 of the reference, because
Azure tests by Kolmogorov and Smirnov below 10,000 rows only, and Deequ merges rare categories.
"""

import csv
import json
import math
import pathlib
import warnings

import numpy as np
import pandas as pd
from scipy.spatial import distance
from scipy.stats import chisquare, ks_2samp, wasserstein_distance

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
SMALL = 700, 2_000


def windows_of(name):
    """The rows by window: months of flights, quarters of employment, and the reference."""
    table = pd.read_parquet(HERE.parent / name / f"{name}_predictions.parquet")
    at = pd.to_datetime(table["timestamp"], utc=True)
    if name == "flights":
        window = at.dt.strftime("%Y-%m")
    else:
        window = at.dt.year.astype(str) + "-Q" + at.dt.quarter.astype(str)
    return table.groupby(window.where(table["period"] != "reference", "reference"), sort=True)


def azure_numbers(reference, current):
    yield "NormalizedWassersteinDistance", wasserstein_distance(reference, current) / max(np.std(reference, ddof=1), 0.001)
    low, high = min(reference.min(), current.min()), max(reference.max(), current.max())
    bins = 1 if low == high else math.ceil(math.log2(min(len(reference), len(current))) + 1)
    edges = np.array([low + step * ((high - low) / bins) for step in range(bins + 1)])
    before, now = spark_histogram(reference, edges), spark_histogram(current, edges)
    yield "JensenShannonDistance", distance.jensenshannon(before, now, base=2)
    yield "PopulationStabilityIndex", stability(before, now, len(reference), len(current))
    if max(len(reference), len(current)) < 10_000:
        yield "TwoSampleKolmogorovSmirnovTest", ks_2samp(reference, current).pvalue


def spark_histogram(values, edges):
    """Counts as Spark's RDD.histogram does: what rounding has left above the last edge is in no bin, and where steps are equal to 1e-10
    a value's bin is found by dividing."""
    bins, steps = len(edges) - 1, np.diff(edges)
    if edges[0] == edges[-1]:
        return np.array([len(values)])
    values = values[values <= edges[-1]]
    if steps.max() - steps.min() < 1e-10:
        found = ((values - edges[0]) / ((edges[-1] - edges[0]) / bins)).astype(int)
    else:
        found = np.searchsorted(edges, values, side="right") - 1
    return np.bincount(np.minimum(found, bins - 1), minlength=bins)


def azure_categories(before, now):
    yield "JensenShannonDistance", distance.jensenshannon(before, now, base=2)
    yield "PopulationStabilityIndex", stability(before, now, before.sum(), now.sum())
    yield "PearsonsChiSquaredTest", chisquare(now, before / before.sum() * now.sum()).pvalue


def stability(before, now, rows_before, rows_now):
    p, q = (before + 1) / (rows_before + len(before)), (now + 1) / (rows_now + len(now))
    return float(np.sum((q - p) * np.log(q / p)))


def sagemaker_numbers(reference, current):
    simple = ks_2samp(reference, current, method="asymp").statistic
    yield "Simple", simple
    yield "Robust", robust(simple, len(reference), len(current))


def sagemaker_categories(before, now):
    simple = np.abs(before / before.sum() - now / now.sum()).max()
    yield "LInfinity (Simple)", simple
    yield "LInfinity (Robust)", robust(simple, before.sum(), now.sum())
    yield "ChiSquared", merged_chi_square(before, now)


def robust(simple, n, m):
    return max(0.0, simple - 1.8 * math.sqrt((n + m) / (n * m)))


def merged_chi_square(before, now):
    """Over the categories of the reference; the two rarest are merged until few enough are rare."""
    known = before > 0
    expected, observed = list(before[known] / before.sum() * now[known].sum()), list(now[known])
    while len(expected) >= 2:
        least, tolerated = (10, 0) if len(expected) == 2 else (5, int(0.2 * len(expected)))
        if sum(count < least for count in expected) <= tolerated:
            return chisquare(observed, np.array(expected) / sum(expected) * sum(observed)).pvalue
        rarest = int(np.argmin(expected))
        moved = expected.pop(rarest), observed.pop(rarest)
        rarest = int(np.argmin(expected))
        expected[rarest] += moved[0]
        observed[rarest] += moved[1]
    return math.nan


def values(name):
    meta = json.loads((HERE.parent / name / f"{name}_meta.json").read_text())
    kinds = {row["column"]: row["kind"] for row in csv.DictReader(open(HERE / f"drift_{name}.csv"))}
    assert set(meta["features"]) <= set(kinds)
    groups = {window: rows for window, rows in windows_of(name)}
    for window, rows in groups.items():
        if window == "reference":
            continue
        for label, few, many in [(window, None, None), (f"{window} small", *SMALL)]:
            for column, kind in sorted(kinds.items()):
                reference, current = groups["reference"][column][:many].dropna(), rows[column][:few].dropna()
                if current.empty:
                    continue
                if kind == "num":
                    pair = reference.to_numpy(float), current.to_numpy(float)
                    by_tool = {"azure": azure_numbers(*pair), "sagemaker": sagemaker_numbers(*pair)}
                else:
                    counts = pd.DataFrame({"a": reference.value_counts(), "b": current.value_counts()}).fillna(0)
                    counts.index = counts.index.map(str)
                    pair = [side.to_numpy(float) for _, side in counts.sort_index().items()]
                    by_tool = {"azure": azure_categories(*pair), "sagemaker": sagemaker_categories(*pair)}
                for tool, results in by_tool.items():
                    for metric, value in results:
                        if not math.isnan(value):
                            yield tool, [name, label, column, metric, f"{value:.10g}"]


for name in ("flights", "employment"):
    found = list(values(name))
    for tool in ("azure", "sagemaker"):
        with open(HERE / f"{tool}_{name}.csv", "w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["dataset", "window", "column", "metric", "value"])
            out.writerows(row for of, row in found if of == tool)
