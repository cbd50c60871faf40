"""TensorFlow Data Validation over two Parquet files: statistics of both, and drift of every column."""

import sys

import pandas as pd
import tensorflow_data_validation as tfdv



def read(path):
    # It takes texts, and not the dictionaries that the files have them in.
    frame = pd.read_parquet(path)
    texts = frame.select_dtypes("category").columns
    return frame.astype({name: object for name in texts})


reference, current = (read(path) for path in sys.argv[1:3])
before, now = (tfdv.generate_statistics_from_dataframe(frame) for frame in (reference, current))
schema = tfdv.infer_schema(before)
for name in reference.columns:
    comparator = tfdv.get_feature(schema, name).drift_comparator
    if name.startswith("c"):
        comparator.infinity_norm.threshold = 0.01
    else:
        comparator.jensen_shannon_divergence.threshold = 0.01
anomalies = tfdv.validate_statistics(now, schema, previous_statistics=before)
print(len(anomalies.drift_skew_info), "columns")
