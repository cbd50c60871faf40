//! The panel of parts: measures that have a value for each class, or for each field of groups, each over time with its
//! interval. Whether groups are treated alike shows in their course, not in one window.

use sqlx::PgConnection;

use super::{Body, PanelView, Reader, describe};
use crate::storage::pages::{self, SeriesValue};
use crate::web::dashboard::Panel;

/// More charts side by side nobody looks at.
const MOST_CHARTS: usize = 12;

impl Reader {
    pub(super) async fn parts(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let (mut charts, mut more) = (Vec::new(), 0);
        if let Some(choice) = self.choose(&panel.measures, self.wanted.part.as_deref()) {
            let of = (
                choice.monitor.as_str(),
                choice.measure.as_str(),
                choice.grain.as_str(),
            );
            let values = pages::part_series(conn, self.model.model_id, of, self.from).await?;
            let parts = values.chunk_by(|a, b| a.part == b.part);
            for (position, of_part) in parts.enumerate() {
                if position >= MOST_CHARTS {
                    more += 1;
                    continue;
                }
                let id = format!("{}-{position}", view.id);
                let values: Vec<SeriesValue> = of_part.iter().map(|v| v.value.clone()).collect();
                let part = &of_part[0].part;
                charts.extend(self.history.part_chart(&id, part, &choice, &values));
            }
            view.note = format!("{} of the champion", describe(&choice));
            view.choices = self.choices(&choice, "part", &view.id);
        }
        view.body = Body::Parts { charts, more };
        Ok(())
    }
}
