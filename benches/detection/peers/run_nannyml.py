"""NannyML's univariate drift and its reconstruction error, at their defaults, by day.

Takes the files of a stream's reference and of the days after it, and prints a line of JSON for every day and column, and one
for every day of which the reconstruction speaks, without a column.
"""

import json
import os
import sys
import warnings

# It tells its makers of every use, unless told not to.
os.environ["NML_DISABLE_USAGE_LOGGING"] = "true"
warnings.filterwarnings("ignore")

import nannyml  # noqa: E402
import pandas as pd  # noqa: E402

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
columns = [name for name in reference.columns if name != "timestamp"]
by_day = {"column_names": columns, "timestamp_column_name": "timestamp", "chunk_period": "D"}


def tell(calculator, parts):
    """Parts are the columns of the result, by the name they are told under."""
    chunks = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
    for day, chunk in chunks.iterrows():
        for name, part in parts.items():
            value, threshold = (float(chunk[(*part, what)]) for what in ("value", "upper_threshold"))
            line = {"day": day, "column": name, "value": value, "drift": bool(chunk[(*part, "alert")])}
            print(json.dumps(line | {"threshold": threshold}))


univariate = nannyml.UnivariateDriftCalculator(**by_day)
tell(univariate, {name: (name, "jensen_shannon") for name in columns})
# It has no place for missing values and is told to leave them to its imputers, which is its default.
reconstruction = nannyml.DataReconstructionDriftCalculator(**by_day)
tell(reconstruction, {None: ("reconstruction_error",)})
