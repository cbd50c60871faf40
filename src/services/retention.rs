//! Forgetting by policy: raw rows, profiles and measurements, each after its own time, project by project.
//!
//! A day of raw rows goes in three steps, each in a transaction of its own, so that a crash between any two leaves
//! something that the next activation goes on from. First the day is closed: nothing more is settled into it. Then it
//! is archived, if it is to be, and the archive read back. Then its rows go, together with the mark that says so. A
//! step that fails holds up the later days of the same projects and nothing else.
//!
//! Dropping a partition needs hardly any space, so it works on a disk that is full; what lies outside of partitions
//! (keys, labels, batches) is swept afterwards.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use super::{Error, Services, archiving};
use crate::domain::ids::ProjectId;
use crate::domain::retention::{Kept, Occupied, Policy, Removal, removals};
use crate::domain::window::{Grain, Window};
use crate::storage::audit::{self, AuditEvent};
use crate::storage::retention::{self, Keeping};
use crate::storage::{models, partitions};

/// How many partitions of a kind one activation removes at most.
const AT_ONCE: usize = 64;
/// How long a day that is past waits for its windows to be measured.
const GRACE: TimeDelta = TimeDelta::days(2);
/// What Postgres says when others hold a table for longer than we wait, or wait for us in turn.
const IN_USE: [&str; 2] = ["55P03", "40P01"];

/// What is to go, or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Step {
    pub kept: Kept,
    /// From when and before when.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Whether the partition goes as a whole, or others still need it.
    pub whole: bool,
    /// Whose rows.
    pub projects: Vec<String>,
    /// How many predictions; of raw rows only.
    pub rows: Option<i64>,
    /// What the partition takes on disk now.
    pub bytes: i64,
    /// Whether the rows go into the archive first.
    pub archived: bool,
}

/// A project's policy, and how far it has been carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Standing {
    pub project: String,
    pub raw_days: u32,
    pub profile_days: u32,
    pub measurement_days: u32,
    /// Whether raw rows go into the archive before they are dropped.
    pub archives: bool,
    /// No prediction of before is taken in any more.
    pub raw_closed_before: Option<DateTime<Utc>>,
    pub raw_gone_before: Option<DateTime<Utc>>,
    pub profiles_gone_before: Option<DateTime<Utc>>,
    pub measurements_gone_before: Option<DateTime<Utc>>,
    /// Why something that is past is still there, and since when.
    pub problem: Option<String>,
    pub problem_since: Option<DateTime<Utc>>,
}

impl Standing {
    fn of(services: &Services, keeping: &Keeping) -> Self {
        let policy = services.custody.policy.of(keeping.wishes);
        Self {
            project: keeping.project.clone(),
            raw_days: policy.raw_days,
            profile_days: policy.profile_days,
            measurement_days: policy.measurement_days,
            archives: archives(services, keeping),
            raw_closed_before: keeping.marks.raw_closed_before,
            raw_gone_before: keeping.marks.raw_gone_before,
            profiles_gone_before: keeping.marks.profiles_gone_before,
            measurements_gone_before: keeping.marks.measurements_gone_before,
            problem: keeping.problem.as_ref().map(|(problem, _)| problem.clone()),
            problem_since: keeping.problem.as_ref().map(|(_, since)| *since),
        }
    }
}

/// The policies, and what is past them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Plan {
    pub standing: Vec<Standing>,
    /// The oldest first.
    pub steps: Vec<Step>,
}

/// Whether a project's raw rows are archived before they go.
fn archives(services: &Services, keeping: &Keeping) -> bool {
    let wanted = keeping.wishes.archive;
    wanted.unwrap_or(services.custody.archive.is_some())
}

/// What of a project would go now, and what has gone. Partitions may hold several projects; only this one is named.
///
/// # Errors
/// When the database fails.
pub async fn plan(
    services: &Services,
    project_id: ProjectId,
    now: DateTime<Utc>,
) -> Result<Plan, Error> {
    let mut conn = services.pool.acquire().await?;
    let all = retention::projects(&mut conn).await?;
    let own = all
        .iter()
        .filter(|keeping| keeping.project_id == project_id);
    let standing = own
        .clone()
        .map(|keeping| Standing::of(services, keeping))
        .collect();
    let archives = own.clone().any(|keeping| archives(services, keeping));
    let mut steps = Vec::new();
    for kept in Kept::ALL {
        for removal in past(&mut conn, services.custody.policy, &all, kept, now).await? {
            if !removal.projects().contains(&project_id) {
                continue;
            }
            let span = (removal.start(), removal.end());
            let window = partitions::grain(kept).window_at(removal.start());
            let rows = match kept {
                Kept::Raw => {
                    let own = BTreeSet::from([project_id]);
                    Some(retention::rows_in(&mut conn, &own, span).await?)
                }
                Kept::Profiles | Kept::Measurements => None,
            };
            steps.push(Step {
                kept,
                from: span.0,
                to: span.1,
                whole: matches!(removal, Removal::Drop { .. }),
                projects: own.clone().map(|keeping| keeping.project.clone()).collect(),
                rows,
                bytes: partitions::bytes(&mut conn, kept, window).await?,
                archived: archives && kept == Kept::Raw,
            });
        }
    }
    steps.sort_by_key(|step| (step.from, step.kept));
    Ok(Plan { standing, steps })
}

/// What is past of a kind.
async fn past(
    conn: &mut PgConnection,
    usual: Policy,
    all: &[Keeping],
    kept: Kept,
    now: DateTime<Utc>,
) -> Result<Vec<Removal>, Error> {
    let kept_from: BTreeMap<ProjectId, DateTime<Utc>> = all
        .iter()
        .map(|of| (of.project_id, usual.of(of.wishes).kept_from(kept, now)))
        .collect();
    let Some(last) = kept_from.values().max() else {
        return Ok(Vec::new());
    };
    let mut occupied = Vec::new();
    let restored = match kept {
        Kept::Raw => retention::restored(conn).await?,
        Kept::Profiles | Kept::Measurements => Vec::new(),
    };
    let windows = partitions::existing(conn, kept).await?;
    for window in windows.into_iter().filter(|window| window.end <= *last) {
        let span = (window.start, window.end);
        let mut projects = retention::occupants(conn, kept, span).await?;
        // A day that was given back stays for a while, also before its rows are settled; a project that is not named
        // keeps everything.
        let stays: BTreeSet<ProjectId> = (restored.iter())
            .filter(|day| day.day == window.start && now < day.keep_until)
            .map(|day| day.project_id)
            .collect();
        projects.retain(|project| !stays.contains(project));
        if !stays.is_empty() {
            // Somebody who is never past the day stands for those who keep it.
            projects.insert(ProjectId(uuid::Uuid::nil()));
        }
        occupied.push(Occupied {
            start: window.start,
            end: window.end,
            projects,
        });
    }
    Ok(removals(&occupied, &kept_from))
}

/// Whether one of these projects has said since `all` was read that it keeps something for another time, or archives it. It
/// can say nothing more until the transaction ends, which has moved a mark of it.
async fn is_outdated(
    conn: &mut PgConnection,
    all: &[Keeping],
    projects: &BTreeSet<ProjectId>,
) -> sqlx::Result<bool> {
    let present = retention::projects(conn).await?;
    let is_known = |of: &Keeping| {
        let mut known = all.iter().filter(|known| known.project_id == of.project_id);
        known.any(|known| known.wishes == of.wishes)
    };
    let mut own = (present.iter()).filter(|of| projects.contains(&of.project_id));
    Ok(own.any(|of| !is_known(of)))
}

/// Makes partitions ahead and removes what is past. Returns whether anything was removed.
///
/// # Errors
/// When the database fails. That a day cannot be archived is noted with its projects and is no error here.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut turn = services.pool.begin().await?;
    if !retention::try_turn(&mut turn).await? {
        return Ok(false);
    }
    let mut conn = services.pool.acquire().await?;
    if let Err(error) = make_ahead(&mut conn, services.custody.days_ahead, now).await {
        // On a full disk there is no room for them, and all the more reason to go on.
        tracing::error!(%error, "could not make partitions ahead");
    }
    let all = retention::projects(&mut conn).await?;
    let mut removed = 0;
    for kept in Kept::ALL {
        let due = past(&mut conn, services.custody.policy, &all, kept, now).await?;
        removed += remove(services, &mut conn, &all, (kept, due), now).await?;
    }
    for keeping in retention::projects(&mut conn).await? {
        sweep(&mut conn, &keeping).await?;
    }
    turn.rollback().await?;
    Ok(removed > 0)
}

async fn make_ahead(
    conn: &mut PgConnection,
    days_ahead: u32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let days: Vec<DateTime<Utc>> = (0..=u64::from(days_ahead))
        .filter_map(|ahead| now.checked_add_days(Days::new(ahead)))
        .collect();
    partitions::ensure(conn, Grain::Day, &days).await?;
    partitions::ensure(conn, Grain::Month, &days).await
}

async fn remove(
    services: &Services,
    conn: &mut PgConnection,
    all: &[Keeping],
    (kept, due): (Kept, Vec<Removal>),
    now: DateTime<Utc>,
) -> Result<usize, Error> {
    let mut removed = 0;
    let mut stuck: BTreeSet<ProjectId> = BTreeSet::new();
    let mut tried: BTreeSet<ProjectId> = BTreeSet::new();
    for removal in due.into_iter().take(AT_ONCE) {
        let window = partitions::grain(kept).window_at(removal.start());
        let mut free: BTreeSet<ProjectId> =
            removal.projects().difference(&stuck).copied().collect();
        if kept == Kept::Raw {
            let raw = RawDay {
                services,
                all,
                window,
            };
            tried.extend(&free);
            let held = raw.prepare(conn, &free, now).await?;
            free.retain(|project| !held.contains(project));
            stuck.extend(held);
        }
        let whole =
            matches!(removal, Removal::Drop { .. }) && free.len() == removal.projects().len();
        if free.is_empty() && !whole {
            continue;
        }
        let going = Going {
            kept,
            window,
            projects: &free,
            whole,
        };
        match going.go(services, conn, all, now).await {
            Ok(gone) => removed += usize::from(gone && !free.is_empty()),
            Err(error) if is_in_use(&error) => {
                tracing::info!(kept = kept.as_str(), from = %window.start, "in use; removed later");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    for project_id in tried.difference(&stuck) {
        retention::note_problem(conn, *project_id, None, now).await?;
    }
    Ok(removed)
}

fn is_in_use(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| IN_USE.contains(&code.as_ref()))
}

/// A day of raw rows that is past.
struct RawDay<'a> {
    services: &'a Services,
    all: &'a [Keeping],
    window: Window,
}

impl RawDay<'_> {
    /// Closes the day and archives it. Returns the projects for which that is not done.
    async fn prepare(
        &self,
        conn: &mut PgConnection,
        projects: &BTreeSet<ProjectId>,
        now: DateTime<Utc>,
    ) -> Result<BTreeSet<ProjectId>, Error> {
        let mut held = BTreeSet::new();
        let span = (self.window.start, self.window.end);
        if self.window.end > now - GRACE - self.shortest(projects)
            && retention::is_pending(conn, projects, span).await?
        {
            // The next activation finds them measured, or waits no longer.
            return Ok(projects.clone());
        }
        if projects.is_empty() {
            return Ok(held);
        }
        let mut tx = self.services.pool.begin().await?;
        retention::close(&mut tx, projects, self.window.end).await?;
        if is_outdated(&mut tx, self.all, projects).await? {
            // The next activation goes by what they say now.
            tx.rollback().await?;
            return Ok(projects.clone());
        }
        tx.commit().await?;
        crate::faults::crash_point("retention.closed");
        for keeping in self
            .all
            .iter()
            .filter(|of| projects.contains(&of.project_id))
        {
            if !archives(self.services, keeping) {
                continue;
            }
            if let Err(error) = self.archive(conn, keeping, now).await {
                tracing::error!(
                    project = keeping.project, day = %self.window.start,
                    error = &error as &dyn std::error::Error,
                    "could not archive a day; its raw rows stay until that is done"
                );
                let problem = format!(
                    "the raw rows of {} stay, because they could not be archived: {}",
                    self.window.start.format("%Y-%m-%d"),
                    archiving::told(&error)
                );
                retention::note_problem(conn, keeping.project_id, Some(&problem), now).await?;
                held.insert(keeping.project_id);
            }
        }
        Ok(held)
    }

    /// The shortest time that one of the projects keeps raw rows.
    fn shortest(&self, projects: &BTreeSet<ProjectId>) -> TimeDelta {
        let usual = self.services.custody.policy;
        let of_projects = self
            .all
            .iter()
            .filter(|of| projects.contains(&of.project_id));
        let days = of_projects.map(|of| usual.of(of.wishes).raw_days).min();
        TimeDelta::days(days.unwrap_or(0).into())
    }

    async fn archive(
        &self,
        conn: &mut PgConnection,
        keeping: &Keeping,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Some(archive) = &self.services.custody.archive else {
            return Err(Error::Conflict(
                "the project wants its raw rows archived, and the service has no archive; set [archive] url".to_owned(),
            ));
        };
        let span = (self.window.start, self.window.end);
        let project_id = keeping.project_id;
        for (model_id, versions) in retention::models_in(conn, project_id, span).await? {
            let Some(model) = models::get(conn, model_id).await? else {
                continue;
            };
            let day = archiving::Day {
                archive,
                project: &keeping.project,
                model: &model,
                versions: &versions,
                start: self.window.start,
            };
            day.keep(conn, now).await?;
        }
        Ok(())
    }
}

/// What goes.
struct Going<'a> {
    kept: Kept,
    window: Window,
    projects: &'a BTreeSet<ProjectId>,
    whole: bool,
}

impl Going<'_> {
    /// Removes rows, together with the mark that says so. Returns whether it did: projects may have changed their minds.
    async fn go(
        &self,
        services: &Services,
        conn: &mut PgConnection,
        all: &[Keeping],
        now: DateTime<Utc>,
    ) -> sqlx::Result<bool> {
        let span = (self.window.start, self.window.end);
        let rows = match self.kept {
            Kept::Raw => Some(retention::rows_in(conn, self.projects, span).await?),
            Kept::Profiles | Kept::Measurements => None,
        };
        let bytes = partitions::bytes(conn, self.kept, self.window).await?;
        let mut tx = services.pool.begin().await?;
        retention::mark_gone(&mut tx, self.projects, self.kept, self.window.end).await?;
        if is_outdated(&mut tx, all, self.projects).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        if self.kept == Kept::Raw {
            retention::forget_restored(&mut tx, self.projects, span).await?;
        }
        let whole = self.whole && self.is_alone(&mut tx).await?;
        if !whole && self.projects.is_empty() {
            tx.rollback().await?;
            return Ok(false);
        }
        if whole {
            partitions::drop(&mut tx, self.kept, self.window).await?;
        } else {
            retention::delete(&mut tx, self.kept, self.projects, span).await?;
        }
        retention::delete_beside(&mut tx, self.kept, self.projects, self.window.end).await?;
        for keeping in all
            .iter()
            .filter(|of| self.projects.contains(&of.project_id))
        {
            let event = AuditEvent {
                project_id: Some(keeping.project_id),
                at: now,
                actor: "retention",
                action: "retention.removed",
                object_kind: self.kept.as_str(),
                object_id: &self.window.start.format("%Y-%m-%d").to_string(),
                detail: json!({
                    "from": self.window.start, "to": self.window.end, "whole_partition": whole,
                    "rows_of_all": rows, "archived": self.kept == Kept::Raw && archives(services, keeping),
                }),
            };
            audit::record(&mut tx, &event).await?;
        }
        crate::faults::crash_point("retention.before_commit");
        tx.commit().await?;
        crate::faults::crash_point("retention.after_commit");
        tracing::info!(
            kept = self.kept.as_str(), from = %self.window.start, whole, rows, bytes,
            "removed what is past"
        );
        Ok(true)
    }

    /// Whether nobody else has rows in the partition, which stays so until the transaction ends. Others, who are not past
    /// it, may have come since it was looked at.
    async fn is_alone(&self, conn: &mut PgConnection) -> sqlx::Result<bool> {
        partitions::freeze(conn, self.kept, self.window).await?;
        let span = (self.window.start, self.window.end);
        let occupants = retention::occupants(conn, self.kept, span).await?;
        Ok(occupants.is_subset(self.projects))
    }
}

/// Sweeps out what lies outside of partitions and belongs to days that are gone.
async fn sweep(conn: &mut PgConnection, keeping: &Keeping) -> Result<(), Error> {
    let Some(before) = keeping.marks.raw_gone_before else {
        return Ok(());
    };
    if keeping.swept_before == Some(before) {
        return Ok(());
    }
    let keys = retention::sweep_keys(conn, keeping.project_id, before).await?;
    crate::faults::crash_point("retention.keys_swept");
    let swept = retention::sweep_received(conn, keeping.project_id, before).await?;
    crate::faults::crash_point("retention.received_swept");
    retention::mark_swept(conn, keeping.project_id, before).await?;
    tracing::info!(
        project = keeping.project,
        keys,
        labels = swept.labels,
        batches = swept.batches,
        "swept out what belonged to raw rows that are gone"
    );
    Ok(())
}
