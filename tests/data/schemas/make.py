"""Writes the files here that the tools' own libraries write; the others are written by hand after the public
specifications.

    pip install mlflow-skinny==3.17.2 great_expectations==1.24.1 tensorflow-metadata==1.21.0
    python make.py
"""

import json
import re
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def mlflow_files():
    from mlflow.models.model import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import (
        Array, ColSpec, Object, ParamSchema, ParamSpec, Property, Schema, TensorSpec,
    )

    inputs = Schema([
        ColSpec("string", "carrier"),
        ColSpec("double", "distance"),
        ColSpec("float", "temp"),
        ColSpec("long", "seats", required=False),
        ColSpec("integer", "hour"),
        ColSpec("boolean", "holiday"),
        ColSpec("datetime", "scheduled"),
        ColSpec("binary", "photo"),
        ColSpec(Array("double"), "history"),
        ColSpec(Object([Property("lat", "double"), Property("lon", "double", required=False)]), "place"),
    ])
    signature = ModelSignature(
        inputs=inputs,
        outputs=Schema([ColSpec("double")]),
        params=ParamSchema([ParamSpec("quantile", "double", 0.5)]),
    )
    model = Model(
        artifact_path="model",
        run_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        utc_time_created="2026-11-20 09:00:00",
        model_uuid="00000000000000000000000000000000",
        signature=signature,
        flavors={"python_function": {"loader_module": "mlflow.sklearn", "python_version": "3.11.2"}},
    )
    (HERE / "mlflow-MLmodel.yaml").write_text(model.to_yaml())
    tensor = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 28, 28), "image")]))
    (HERE / "mlflow-tensor.json").write_text(json.dumps(tensor.to_dict(), indent=1) + "\n")


def great_expectations_file():
    import great_expectations as gx
    import great_expectations.expectations as gxe

    gx.get_context(mode="ephemeral")
    suite = gx.ExpectationSuite(name="flights")
    for expectation in [
        gxe.ExpectColumnToExist(column="distance"),
        gxe.ExpectColumnValuesToBeBetween(column="distance", min_value=0, max_value=3000, mostly=0.99),
        gxe.ExpectColumnValuesToNotBeNull(column="distance", mostly=0.9),
        gxe.ExpectColumnValuesToBeInSet(column="carrier", value_set=["AA", "DL", "UA"]),
        gxe.ExpectColumnValuesToBeInSet(column="hour", value_set=[6, 7, 8, 21]),
        gxe.ExpectColumnValuesToBeOfType(column="seats", type_="INTEGER"),
        gxe.ExpectColumnValuesToBeInTypeList(column="temp", type_list=["FLOAT", "DOUBLE"]),
        gxe.ExpectColumnMeanToBeBetween(column="temp", min_value=10, max_value=20),
        gxe.ExpectColumnValuesToMatchRegex(column="flight", regex="^[A-Z]{2}[0-9]+$"),
        gxe.ExpectTableRowCountToBeBetween(min_value=1000),
        gxe.ExpectColumnValuesToBeUnique(column="flight"),
        gxe.ExpectColumnMinToBeBetween(column="seats", min_value=1, max_value=1),
        gxe.ExpectColumnMaxToBeBetween(column="seats", max_value=9),
    ]:
        suite.add_expectation(expectation)
    text = json.dumps(suite.to_json_dict(), indent=1)
    # Ids are drawn anew each time.
    text = re.sub(r'"id": "[0-9a-f-]{36}"', '"id": null', text)
    (HERE / "great-expectations-1.24.json").write_text(text + "\n")


def tfdv_files():
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = text_format.Parse("""
        feature { name: "distance" type: FLOAT presence { min_fraction: 1.0 min_count: 1 }
                  shape { dim { size: 1 } } float_domain { min: 0.0 max: 3000.0 disallow_nan: true }
                  drift_comparator { jensen_shannon_divergence { threshold: 0.01 } } }
        feature { name: "carrier" type: BYTES value_count { min: 1 max: 1 } domain: "carrier"
                  presence { min_fraction: 0.99 min_count: 100 }
                  distribution_constraints { min_domain_mass: 0.95 }
                  skew_comparator { infinity_norm { threshold: 0.03 } } }
        feature { name: "seats" type: INT value_count { min: 1 max: 1 } int_domain { min: 1 max: 9 } }
        feature { name: "late" type: INT bool_domain { } }
        feature { name: "origin" type: BYTES bool_domain { true_value: "JFK" false_value: "EWR" } }
        feature { name: "remark" type: BYTES natural_language_domain { } presence { min_count: 1 } }
        feature { name: "stops" type: BYTES value_count { min: 1 } }
        feature { name: "place" type: STRUCT struct_domain { } }
        feature { name: "gate" type: BYTES lifecycle_stage: PLANNED }
        feature { name: "air_time" type: FLOAT presence { min_fraction: 1.0 } not_in_environment: "SERVING" }
        string_domain { name: "carrier" value: "AA" value: "DL" value: "UA" }
        default_environment: "TRAINING"
        default_environment: "SERVING"
    """, schema_pb2.Schema())
    (HERE / "tfdv-schema.pbtxt").write_text(text_format.MessageToString(schema))
    (HERE / "tfdv-schema.pb").write_bytes(schema.SerializeToString(deterministic=True))


mlflow_files()
great_expectations_file()
tfdv_files()
