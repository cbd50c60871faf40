"""Evidently's preset for data drift over two Parquet files, at its defaults."""

import sys

import pandas as pd
from evidently import Dataset, DataDefinition, Report
from evidently.presets import DataDriftPreset

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
numeric = [name for name in reference.columns if name.startswith("n")]
categorical = [name for name in reference.columns if name.startswith("c")]
definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
report = Report([DataDriftPreset()]).run(
    Dataset.from_pandas(current, data_definition=definition),
    Dataset.from_pandas(reference, data_definition=definition),
)
print(len(report.dict()["metrics"]), "metrics")
