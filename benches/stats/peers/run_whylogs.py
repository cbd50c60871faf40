"""whylogs' profiles of two Parquet files, and its drift scores."""

import sys

import pandas as pd
import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
views = [whylogs.log(frame).profile().view() for frame in (reference, current)]
print(len(calculate_drift_scores(target_view=views[1], reference_view=views[0], with_thresholds=True)), "columns")
