"""Evidently's preset for data drift, at its defaults, on every day of a stream against its reference.

Takes the files of the reference and of the days after it, and prints a line of JSON for every day and column.
"""

import json
import sys

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
columns = [name for name in reference.columns if name != "timestamp"]
definition = DataDefinition(
    numerical_columns=[name for name in columns if name.startswith("n")],
    categorical_columns=[name for name in columns if name.startswith("c")],
)


def dataset(frame):
    return Dataset.from_pandas(frame[columns], data_definition=definition)


against = dataset(reference)
for day, (_, rows) in enumerate(current.groupby(current["timestamp"].dt.date)):
    metrics = Report([DataDriftPreset()]).run(dataset(rows), against).dict()["metrics"]
    drifted = 0
    for metric in metrics[1:]:
        config, value = metric["config"], float(metric["value"])
        # Of tests the value is a p-value, of distances it is the distance.
        is_test = "p_value" in config["method"]
        drift = value < config["threshold"] if is_test else value >= config["threshold"]
        drifted += drift
        line = {"day": day, "column": config["column"], "value": value, "drift": drift}
        print(json.dumps(line | {"threshold": config["threshold"]}))
    counted = metrics[0]["value"]["count"]
    assert counted == drifted, f"Evidently counts {counted} drifted columns, and its values give {drifted}"
