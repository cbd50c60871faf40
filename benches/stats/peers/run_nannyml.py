"""NannyML's univariate drift over two Parquet files, at its defaults."""

import sys

import nannyml
import pandas as pd

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns))
print(len(calculator.fit(reference).calculate(current).to_df()), "chunks")
