use super::*;
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = AnyValue> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::IntValue),
        (-1e12..1e12).prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
        "\\PC{0,12}".prop_map(Value::StringValue),
    ];
    value.prop_map(|value| AnyValue { value: Some(value) })
}

fn as_json(value: &AnyValue) -> serde_json::Value {
    match &value.value {
        Some(Value::IntValue(number)) => serde_json::json!({"intValue": number.to_string()}),
        Some(Value::DoubleValue(number)) => serde_json::json!({"doubleValue": number}),
        Some(Value::BoolValue(flag)) => serde_json::json!({"boolValue": flag}),
        Some(Value::StringValue(text)) => serde_json::json!({"stringValue": text}),
        _ => serde_json::json!({}),
    }
}

proptest! {
    #[test]
    fn both_encodings_of_anything_are_the_same_rows(
        features in prop::collection::vec(("[a-z]{1,6}", any_value()), 0..8),
        answer in any_value(),
    ) {
        let mut given = vec![
            ("bellwether.model".to_owned(), text("fares").expect("text")),
            ("bellwether.prediction_id".to_owned(), text("p").expect("text")),
            ("bellwether.prediction".to_owned(), answer),
        ];
        given.extend(features.into_iter().map(|(name, value)| (format!("bellwether.feature.{name}"), value)));
        let pairs: Vec<_> = given.iter().map(|(n, v)| (n.as_str(), Some(v.clone()))).collect();
        let protobuf = logs(&[], "", vec![event("bellwether.prediction", &pairs)]);
        let attributes: Vec<_> = given.iter()
            .map(|(name, value)| serde_json::json!({"key": name, "value": as_json(value)}))
            .collect();
        let json = serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{
            "timeUnixNano": NANOS.to_string(), "eventName": "bellwether.prediction", "attributes": attributes
        }]}]}]}).to_string();
        for task in [Task::Regression, Task::Binary, Task::Multiclass] {
            let (_, one) = read(Signal::Logs, Encoding::Protobuf, &protobuf, task);
            let (_, other) = read(Signal::Logs, Encoding::Json, json.as_bytes(), task);
            prop_assert_eq!(predictions(&one[0]), predictions(&other[0]));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for signal in Signal::ALL {
            for encoding in [Encoding::Protobuf, Encoding::Json] {
                if let Ok(sorted) = sort(signal, encoding, &body, &Limits::default()) {
                    // Every record is somewhere: a row, a sample, or counted as not used.
                    let rows: u64 = (0..sorted.destinations.len()).map(|d| sorted.rows_of(d)).sum();
                    let told = sorted.samples.len() as u64;
                    prop_assert!(rows + told + sorted.unused.total() >= sorted.received);
                }
            }
        }
    }
}
