//! What stands around every page: navigation, banners, the person signed in, and the addresses of styles
//! and scripts.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::services::access::{Scope, Session};
use crate::services::{Error, Services};
use crate::storage::pages;

use super::{assets, wording};

/// The bare shell of a page, with nobody in it.
#[derive(Debug, Clone)]
pub struct Shell {
    pub title: String,
    pub css: String,
    pub uplot_css: String,
    pub js: String,
    pub uplot_js: String,
    pub icon: String,
    pub frame: Option<Frame>,
}

/// Navigation and banners of a page for a person who is signed in.
#[derive(Debug, Clone)]
pub struct Frame {
    pub section: Section,
    pub project: String,
    pub person: String,
    pub csrf: String,
    pub open_alerts: i64,
    pub waiting_approvals: i64,
    pub banners: Vec<Banner>,
    /// Whether the script fetches the page again while it is looked at.
    pub live: bool,
}

/// Which entry of the navigation the page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Fleet,
    Alerts,
    Deliveries,
    Settings,
}

impl Section {
    /// The navigation, in order, each with whether it is the present one.
    #[must_use]
    pub fn entries(self) -> Vec<NavEntry> {
        [
            (Self::Fleet, "Fleet", "/"),
            (Self::Alerts, "Alerts", "/alerts"),
            (Self::Deliveries, "Deliveries", "/deliveries"),
            (Self::Settings, "Settings", "/settings"),
        ]
        .into_iter()
        .map(|(section, word, href)| NavEntry {
            word,
            href,
            current: section == self,
            alerts: section == Self::Alerts,
        })
        .collect()
    }
}

/// One entry of the navigation.
#[derive(Debug, Clone)]
pub struct NavEntry {
    pub word: &'static str,
    pub href: &'static str,
    pub current: bool,
    pub alerts: bool,
}

/// Something everybody should know, on every page.
#[derive(Debug, Clone)]
pub struct Banner {
    pub class: &'static str,
    pub text: String,
}

impl Shell {
    /// A page outside the navigation.
    #[must_use]
    pub fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            css: assets::address("app.css"),
            uplot_css: assets::address("vendor/uplot/uPlot.min.css"),
            js: assets::address("app.js"),
            uplot_js: assets::address("vendor/uplot/uPlot.iife.min.js"),
            icon: assets::address("icon.svg"),
            frame: None,
        }
    }

    /// A page of a section, for the person of the session.
    pub async fn load(
        conn: &mut PgConnection,
        services: &Services,
        session: &Session,
        section: Section,
        title: &str,
    ) -> Result<Self, Error> {
        let counts = pages::frame(conn, session.project_id)
            .await?
            .ok_or_else(|| Error::not_found("the project"))?;
        let durability = pages::durability(conn).await?;
        Ok(Self {
            frame: Some(Frame {
                section,
                project: counts.project,
                person: session.display_name.clone(),
                csrf: session.csrf_token.clone(),
                open_alerts: counts.open_alerts,
                waiting_approvals: counts.waiting_approvals,
                banners: banners(
                    services.replay.as_ref().map(|_| services.clock.now()),
                    &durability,
                ),
                live: section != Section::Settings,
            }),
            ..Self::bare(title)
        })
    }

    /// The token against forgery that forms on the page carry.
    #[must_use]
    pub fn csrf(&self) -> &str {
        self.frame.as_ref().map_or("", |frame| &frame.csrf)
    }
}

/// Whether the person of a session may act on alerts and runs.
#[must_use]
pub fn may_operate(session: &Session) -> bool {
    session.principal().may(Scope::Operate)
}

fn banners(replayed: Option<DateTime<Utc>>, durability: &pages::Durability) -> Vec<Banner> {
    let replay = replayed.map(|now| Banner {
        class: "replay",
        text: format!("Replay clock: {} UTC", wording::date_time(now)),
    });
    let weak = durability.weak();
    let durable = (!weak.is_empty()).then(|| Banner {
        class: "danger",
        text: format!(
            "Acknowledged data can be lost in a power cut: the database runs with {} = off.",
            weak.join(" = off and ")
        ),
    });
    replay.into_iter().chain(durable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_would_lose_data_is_called_out() {
        let settings = |fsync: &str| pages::Durability {
            fsync: fsync.to_owned(),
            synchronous_commit: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            server_version: "15".to_owned(),
        };
        assert!(banners(None, &settings("on")).is_empty());
        let warned = banners(Some(DateTime::UNIX_EPOCH), &settings("off"));
        assert_eq!(warned[0].text, "Replay clock: 1 Jan 1970, 00:00 UTC");
        assert!(warned[1].text.contains("fsync = off"));
    }
}
