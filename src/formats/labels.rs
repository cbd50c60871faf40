//! Builds a batch of labels. Columns that are no part of a label are not read: label files are often whole
//! tables of outcomes.

use crate::domain::batch::{Decoded, LabelBatch, LabelValue};
use crate::domain::model::Task;

use super::names::{Field, Fixed};
use super::raw::{Entries, Fault, Raw};
use super::{Expectations, FormatError, Ledger, Rows};

pub(super) struct LabelRows<'e> {
    expect: &'e Expectations<'e>,
    ledger: Ledger,
    batch: LabelBatch,
    /// The line of each kept row.
    lines: Vec<u64>,
}

impl<'e> LabelRows<'e> {
    pub fn new(expect: &'e Expectations<'e>) -> Self {
        Self {
            expect,
            ledger: Ledger::new(expect.limits),
            batch: LabelBatch::default(),
            lines: Vec::new(),
        }
    }

    pub fn finish(self) -> Decoded<LabelBatch> {
        Decoded {
            batch: self.batch,
            rejects: self.ledger.rejects,
            received: self.ledger.received,
            lines: self.lines,
        }
    }

    /// The field that a name stands for; the model's file has the first word.
    fn field(&self, name: &str) -> Option<Fixed> {
        let columns = self.expect.columns;
        if columns.is_ignored(name) {
            return None;
        }
        Fixed::of_label(columns.field_of(name).unwrap_or(name))
    }

    fn take<'a>(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (Fixed, Raw<'a>)>,
    ) -> Result<(), FormatError> {
        match self.judge(cells) {
            Ok((prediction_id, label, observed_at)) => {
                let class_bytes = match &label {
                    LabelValue::Class(class) => class.len(),
                    LabelValue::Number(_) => 0,
                };
                self.ledger.accept(prediction_id.len() + class_bytes)?;
                self.lines.push(line);
                self.batch.prediction_ids.push(prediction_id);
                self.batch.labels.push(label);
                self.batch.observed_at.push(observed_at);
                Ok(())
            }
            Err(fault) => {
                let fault = fault.in_column(self.expect.columns);
                self.ledger.refuse(line, fault)
            }
        }
    }

    fn judge<'a>(
        &self,
        cells: impl Iterator<Item = (Fixed, Raw<'a>)>,
    ) -> Result<(String, LabelValue, chrono::DateTime<chrono::Utc>), Fault> {
        let (mut prediction_id, mut label, mut observed_at) = (None, None, None);
        for (field, raw) in cells {
            let place = match field {
                Fixed::PredictionId => &mut prediction_id,
                Fixed::Label => &mut label,
                Fixed::ObservedAt => &mut observed_at,
                _ => continue,
            };
            if place.replace(raw).is_some() {
                return Err(Fault::duplicate(field.name()));
            }
        }
        let given = |raw: Option<Raw<'a>>, field: Fixed| {
            raw.filter(|raw| !raw.is_null())
                .ok_or_else(|| Fault::missing("is missing").in_field(field.name()))
        };
        let prediction_id = given(prediction_id, Fixed::PredictionId)?
            .into_name()
            .map_err(|fault| fault.in_field(Fixed::PredictionId.name()))?
            .into_owned();
        let label = given(label, Fixed::Label)?;
        let label = into_label(self.expect.task, label)
            .map_err(|fault| fault.in_field(Fixed::Label.name()))?;
        let observed_at = match observed_at.filter(|raw| !raw.is_null()) {
            Some(raw) => raw
                .into_instant(
                    &self.expect.columns.times,
                    self.expect.earliest,
                    self.expect.latest,
                )
                .map_err(|fault| fault.in_field(Fixed::ObservedAt.name()))?,
            None => self.expect.received_at,
        };
        Ok((prediction_id, label, observed_at))
    }
}

/// The truth about a prediction of a model with this task.
pub(super) fn into_label(task: Task, raw: Raw<'_>) -> Result<LabelValue, Fault> {
    match task {
        Task::Regression | Task::Forecast => raw.into_number().map(LabelValue::Number),
        Task::Ranking => into_relevance(raw).map(LabelValue::Number),
        Task::Binary | Task::Multiclass => raw.into_class().map(LabelValue::Class),
    }
}

fn into_relevance(raw: Raw<'_>) -> Result<f64, Fault> {
    let relevance = raw.into_number()?;
    if relevance >= 0.0 {
        Ok(relevance)
    } else {
        Err(Fault::wrong(format!(
            "is {relevance}, not a relevance of 0 or more"
        )))
    }
}

impl Rows for LabelRows<'_> {
    fn locate(&mut self, column: &str) -> Result<Option<Field>, Fault> {
        Ok(self.field(column).map(Field::Fixed))
    }

    fn append<'a>(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (Field, Raw<'a>)>,
    ) -> Result<(), FormatError> {
        self.take(
            line,
            cells.filter_map(|(field, raw)| match field {
                Field::Fixed(fixed) => Some((fixed, raw)),
                Field::Feature(_) | Field::Probability(_) => None,
            }),
        )
    }

    fn append_named<'a>(&mut self, line: u64, row: Entries<'a>) -> Result<(), FormatError> {
        let fields: Vec<_> = (row.into_iter())
            .filter_map(|(name, raw)| Some((self.field(&name)?, raw)))
            .collect();
        self.take(line, fields.into_iter())
    }

    fn refuse(&mut self, line: u64, fault: Fault) -> Result<(), FormatError> {
        self.ledger.refuse(line, fault)
    }
}
