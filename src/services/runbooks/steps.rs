//! What each kind of step does when it is looked at. A look may begin the step, find it going on, or end it;
//! it is repeated until the step is over, so it must not do anything twice.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{StepResult, insert, new_run, note};
use crate::domain::gate::WatchedWindow;
use crate::domain::ids::{ApprovalId, GateResultId, VersionId};
use crate::domain::measurement::Measure;
use crate::domain::message::{Cause, NotifyReason};
use crate::domain::model::Role;
use crate::domain::runbook::{Action, Check, Gate, Promoted, Watch, compared_measure};
use crate::services::delivery::{self, RunNews};
use crate::services::explain::{self, Scene};
use crate::services::promotion::Order;
use crate::services::registry::{self, PRODUCTION};
use crate::services::{
    Error, Services, alerting, configuration, gate, promotion, retraining, watch,
};
use crate::storage::alerts;
use crate::storage::measurements::{self, Selection};
use crate::storage::models::{self, Model};
use crate::storage::runs::{self, Approval, GateResult, Promotion, Run, RunStep};

/// How long past its window a gate waits for a candidate that has too few labels.
const GATE_PATIENCE: TimeDelta = TimeDelta::days(14);

/// One look at one step.
pub(super) struct Look<'a> {
    pub services: &'a Services,
    pub model: &'a Model,
    pub run: &'a Run,
    pub step: &'a RunStep,
    pub now: DateTime<Utc>,
}

impl Look<'_> {
    pub(super) async fn at(
        &self,
        conn: &mut PgConnection,
        action: &Action,
    ) -> Result<StepResult, Error> {
        match action {
            Action::Diagnose { checks } => self.diagnose(conn, checks).await,
            Action::Approve { question } => self.approve(conn, question).await,
            Action::Trigger {
                pipeline,
                parameters,
            } => self.trigger(conn, pipeline, &json!(parameters)).await,
            Action::Gate(gate) => self.gate(conn, gate).await,
            Action::Promote { version } => self.promote(conn, *version).await,
            Action::Watch(watch) => self.watch(conn, watch).await,
        }
    }

    fn is_new(&self) -> bool {
        self.step.state == "pending"
    }

    /// The rule that started the run is about some measure; gates and watches compare by it unless told.
    async fn measure(
        &self,
        conn: &mut PgConnection,
        named: Option<Measure>,
    ) -> Result<Measure, Error> {
        let mut of_rule = Vec::new();
        if let Some(alert_id) = self.run.alert_id
            && let Some(alert) = alerts::find(conn, self.run.project_id, alert_id).await?
        {
            let rules = configuration::rules(conn, self.model).await?;
            of_rule.extend(
                rules
                    .iter()
                    .filter(|rule| rule.name == alert.rule)
                    .filter_map(alerting::measure_of),
            );
        }
        Ok(compared_measure(named, &of_rule, self.model.task))
    }

    async fn champion(&self, conn: &mut PgConnection) -> Result<Option<VersionId>, Error> {
        Ok(registry::champion(conn, self.model)
            .await?
            .map(|champion| champion.version_id))
    }

    async fn tell(
        &self,
        conn: &mut PgConnection,
        reason: NotifyReason,
        news: News,
    ) -> Result<(), Error> {
        let news = RunNews {
            reason,
            title: news.title,
            what: news.what,
            version: news.version,
            causes: news.causes,
            next_step: news.next_step,
            run: self.run,
        };
        delivery::announce_run(self.services, conn, self.model, news, self.now).await
    }

    // ── diagnose ─────────────────────────────────────────────────────────────────────────────────────

    async fn diagnose(
        &self,
        conn: &mut PgConnection,
        checks: &[Check],
    ) -> Result<StepResult, Error> {
        let Some(version_id) = self.champion(conn).await? else {
            return Ok(StepResult::Done {
                detail: json!({"findings": []}),
            });
        };
        let alert = match self.run.alert_id {
            Some(alert_id) => alerts::find(conn, self.run.project_id, alert_id).await?,
            None => None,
        };
        let scene = Scene {
            model: self.model,
            version_id,
            measure: Some(self.measure(conn, None).await?),
            since: alert.as_ref().map_or(self.now, |alert| alert.since),
            now: self.now,
        };
        let mut findings = Vec::with_capacity(checks.len());
        for check in checks {
            findings.push(self.finding(conn, scene, *check).await?);
        }
        let detail = json!({ "findings": findings });
        if let Some(alert) = alert {
            let event = alerts::AlertEvent {
                kind: "diagnosis",
                text: "the diagnosis is attached",
                detail: detail.clone(),
                actor: "bellwether",
            };
            alerts::add_event(conn, alert.alert_id, event, self.now).await?;
        }
        Ok(StepResult::Done { detail })
    }

    async fn finding(
        &self,
        conn: &mut PgConnection,
        scene: Scene<'_>,
        check: Check,
    ) -> Result<Value, Error> {
        let (word, title, lines) = match check {
            Check::DriftedFeatures => (
                "drifted_features",
                "Features that moved",
                lines(explain::drifted_features(conn, scene).await?),
            ),
            Check::WorstSegments => (
                "worst_segments",
                "Segments that suffer most",
                lines(explain::worst_segments(conn, scene).await?),
            ),
            Check::RecentChanges => (
                "recent_changes",
                "Changed in the fortnight before",
                lines(explain::recent_changes(conn, scene).await?),
            ),
            Check::SchemaFindings => (
                "schema_findings",
                "Open schema findings",
                lines(explain::schema_findings(conn, scene).await?),
            ),
            Check::LabelCoverage => (
                "label_coverage",
                "Labels that have arrived",
                self.newest(conn, scene, &[Measure::LabelCoverage]).await?,
            ),
            Check::Traffic => {
                let measures = [Measure::Traffic, Measure::ErrorRate];
                (
                    "traffic",
                    "Traffic and errors",
                    self.newest(conn, scene, &measures).await?,
                )
            }
        };
        let lines = if lines.is_empty() {
            vec!["nothing found".to_owned()]
        } else {
            lines
        };
        Ok(json!({"check": word, "title": title, "lines": lines}))
    }

    async fn newest(
        &self,
        conn: &mut PgConnection,
        scene: Scene<'_>,
        measures: &[Measure],
    ) -> Result<Vec<String>, Error> {
        let names: Vec<String> = measures
            .iter()
            .map(|measure| measure.as_str().to_owned())
            .collect();
        let selection = Selection {
            version_id: Some(scene.version_id),
            measures: Some(&names),
            overall_only: true,
            from: Some(scene.now - TimeDelta::days(62)),
            ..Selection::default()
        };
        let values =
            measurements::of_newest_windows(conn, self.model.model_id, selection, 1_000).await?;
        let newest = values.iter().map(|v| v.window.start).max();
        Ok(values
            .iter()
            .filter(|v| Some(v.window.start) == newest)
            .filter_map(|v| {
                let value = match v.measure.as_str() {
                    "traffic" => format!("{:.0}", v.value?),
                    _ => format!("{:.1} %", 100.0 * v.value?),
                };
                let window = format!(
                    "{} of {}",
                    v.window.grain.as_str(),
                    v.window.start.format("%Y-%m-%d")
                );
                Some(format!(
                    "{}: {value} in the {window}",
                    v.measure.replace('_', " ")
                ))
            })
            .collect())
    }

    // ── approve ──────────────────────────────────────────────────────────────────────────────────────

    async fn approve(&self, conn: &mut PgConnection, question: &str) -> Result<StepResult, Error> {
        if self.is_new() {
            return self.ask(conn, question).await;
        }
        let approvals = runs::approvals(conn, self.run.run_id).await?;
        let Some(approval) = approvals
            .into_iter()
            .find(|a| a.position == self.step.position)
        else {
            return Err(Error::internal(format!(
                "run {} waits for an approval that is not there",
                self.run.run_id
            )));
        };
        let detail = json!({
            "question": approval.question,
            "decision": approval.decision,
            "reason": approval.reason,
            "by": approval.decided_by,
            "at": approval.decided_at,
        });
        match approval.decision.as_deref() {
            None => Ok(StepResult::Unchanged),
            Some("approved") => Ok(StepResult::Done { detail }),
            Some(_) => Ok(StepResult::Ends {
                step: "refused",
                run: "cancelled",
                detail,
                outcome: format!("declined: {}", approval.reason.unwrap_or_default()),
            }),
        }
    }

    async fn ask(&self, conn: &mut PgConnection, question: &str) -> Result<StepResult, Error> {
        // What made somebody propose the run stands before the question, wherever it is asked.
        let why = self.run.parameters.get("why").and_then(Value::as_str);
        let asked = why.map_or_else(|| question.to_owned(), |why| format!("{why} {question}"));
        let approval = Approval {
            approval_id: ApprovalId::new(self.now),
            run_id: self.run.run_id,
            position: self.step.position,
            question: asked.clone(),
            requested_at: self.now,
            decision: None,
            decided_at: None,
            decided_by: None,
            reason: None,
        };
        runs::insert_approval(conn, self.run.project_id, &approval).await?;
        let rollback = Action::Promote {
            version: Promoted::Previous,
        };
        let goes_back = self
            .run
            .definition
            .steps
            .iter()
            .any(|step| step.action == rollback);
        let reason = if goes_back {
            NotifyReason::RollbackProposed
        } else {
            NotifyReason::ApprovalRequested
        };
        let news = News {
            title: question.to_owned(),
            what: asked.clone(),
            next_step: "Open the link, read the diagnosis, and approve or decline with a reason."
                .to_owned(),
            ..News::default()
        };
        self.tell(conn, reason, news).await?;
        Ok(StepResult::Goes {
            state: "waiting",
            detail: json!({ "question": asked }),
        })
    }

    // ── trigger ──────────────────────────────────────────────────────────────────────────────────────

    async fn trigger(
        &self,
        conn: &mut PgConnection,
        pipeline: &str,
        parameters: &Value,
    ) -> Result<StepResult, Error> {
        if self.is_new() {
            return self.request(conn, pipeline, parameters).await;
        }
        let Some(run) =
            runs::pipeline_run_of_step(conn, self.run.run_id, self.step.position).await?
        else {
            return Err(Error::internal(format!(
                "run {} waits for a pipeline run that is not there",
                self.run.run_id
            )));
        };
        let candidate = runs::candidate(conn, self.run.run_id).await?;
        let detail = json!({
            "pipeline": run.pipeline,
            "run_key": run.run_key,
            "state": run.state,
            "expected_at": run.expected_at,
            "link": run.link,
            "cause": run.cause,
            "candidate": candidate.as_ref().map(|c| &c.version),
        });
        match (run.state.as_str(), candidate) {
            ("succeeded", Some(_)) => Ok(StepResult::Done { detail }),
            ("succeeded", None) => Ok(StepResult::Ends {
                step: "failed",
                run: "failed",
                detail,
                outcome: format!(
                    "pipeline {:?} succeeded without delivering a candidate",
                    run.pipeline
                ),
            }),
            ("failed", _) => Ok(StepResult::Ends {
                step: "failed",
                run: "failed",
                detail,
                outcome: format!(
                    "pipeline {:?} failed: {}",
                    run.pipeline,
                    run.cause.unwrap_or_default()
                ),
            }),
            // Whether it runs is not known, and starting it twice is worse than asking a person.
            ("unknown", _) => Ok(StepResult::Ends {
                step: "failed",
                run: "failed",
                detail,
                outcome: format!(
                    "it is not known whether pipeline {:?} was started; look there for run key {}",
                    run.pipeline, run.run_key
                ),
            }),
            _ => Ok(StepResult::Goes {
                state: "running",
                detail,
            }),
        }
    }

    async fn request(
        &self,
        conn: &mut PgConnection,
        pipeline: &str,
        parameters: &Value,
    ) -> Result<StepResult, Error> {
        let refuse = |because: String| StepResult::Ends {
            step: "refused",
            run: "refused",
            detail: json!({"pipeline": pipeline, "refused_because": because}),
            outcome: because,
        };
        if let Some(because) = retraining::refusal(conn, self.model).await? {
            return Ok(refuse(because));
        }
        if configuration::pipeline(conn, self.run.project_id, pipeline)
            .await?
            .is_none()
        {
            return Ok(refuse(format!(
                "pipeline {pipeline:?} is not defined in this project"
            )));
        }
        let run_key = retraining::request(
            self.services,
            conn,
            self.run,
            self.step.position,
            pipeline,
            parameters,
            self.now,
        )
        .await?;
        let detail = json!({"pipeline": pipeline, "run_key": run_key, "state": "requested"});
        Ok(StepResult::Goes {
            state: "running",
            detail,
        })
    }

    // ── gate ─────────────────────────────────────────────────────────────────────────────────────────

    async fn gate(&self, conn: &mut PgConnection, definition: &Gate) -> Result<StepResult, Error> {
        let Some(candidate) = runs::candidate(conn, self.run.run_id).await? else {
            return Ok(end_failed("there is no candidate to compare"));
        };
        let Some(champion) = registry::champion(conn, self.model).await? else {
            return Ok(end_failed("the model has no champion to compare with"));
        };
        if candidate.version_id == champion.version_id {
            return Ok(end_failed(&format!(
                "{} is the champion already, there is nothing to compare",
                candidate.version
            )));
        }
        let window = gate::window(
            conn,
            candidate.version_id,
            definition,
            candidate.delivered_at,
        )
        .await?;
        let Some(window) = window.filter(|window| window.decidable_at <= self.now) else {
            if window.is_none() && self.now > candidate.delivered_at + GATE_PATIENCE {
                let cause = format!(
                    "{} has made no predictions in a fortnight",
                    candidate.version
                );
                return Ok(end_failed(&cause));
            }
            let detail = json!({
                "candidate": candidate.version,
                "champion": champion.version,
                "window_from": window.map(|w| w.from),
                "window_to": window.map(|w| w.to),
                "decidable_at": window.map(|w| w.decidable_at),
            });
            return Ok(StepResult::Goes {
                state: "running",
                detail,
            });
        };
        let measure = self.measure(conn, definition.measure).await?;
        let versions = (candidate.version_id, champion.version_id);
        let (ruling, comparisons) =
            gate::decide(conn, self.model, versions, (definition, measure), window).await?;
        let result = GateResult {
            run_id: self.run.run_id,
            position: self.step.position,
            candidate: candidate.version_id,
            candidate_name: candidate.version.clone(),
            champion: champion.version_id,
            champion_name: champion.version.clone(),
            window_from: window.from,
            window_to: window.to,
            verdict: if ruling.accepted {
                "accepted"
            } else {
                "refused"
            }
            .to_owned(),
            reason: ruling.reason.clone(),
            comparisons: json!(comparisons),
            decided_at: self.now,
        };
        let gate_result_id = GateResultId::new(self.now);
        runs::insert_gate_result(
            conn,
            gate_result_id,
            self.run.project_id,
            self.model.model_id,
            &result,
        )
        .await?;
        let detail = json!({
            "candidate": candidate.version,
            "champion": champion.version,
            "window_from": window.from,
            "window_to": window.to,
            "verdict": result.verdict,
            "reason": result.reason,
            "comparisons": comparisons,
        });
        if ruling.accepted {
            return Ok(StepResult::Done { detail });
        }
        // It keeps predicting, as a shadow: what was refused today may be of use to learn from.
        models::deploy(
            conn,
            self.model,
            candidate.version_id,
            PRODUCTION,
            Role::Shadow,
            0.0,
            self.now,
        )
        .await?;
        let news = News {
            title: format!("{} was refused", candidate.version),
            what: format!("The gate refused {}: {}.", candidate.version, ruling.reason),
            version: candidate.version.clone(),
            ..News::default()
        };
        self.tell(conn, NotifyReason::CandidateRefused, news)
            .await?;
        Ok(StepResult::Ends {
            step: "refused",
            run: "refused",
            detail,
            outcome: format!("{} was refused: {}", candidate.version, ruling.reason),
        })
    }

    // ── promote ──────────────────────────────────────────────────────────────────────────────────────

    async fn promote(
        &self,
        conn: &mut PgConnection,
        promoted: Promoted,
    ) -> Result<StepResult, Error> {
        let version_id = match promoted {
            Promoted::Candidate => runs::candidate(conn, self.run.run_id)
                .await?
                .map(|c| c.version_id),
            Promoted::Previous => self.previous(conn).await?,
        };
        let Some(version_id) = version_id else {
            return Ok(end_failed("there is no version to promote"));
        };
        if let Some(cause) = self.outdated(conn, version_id).await? {
            return Ok(end_failed(&cause));
        }
        let (by, reason) = self.authority(conn).await?;
        let order = Order {
            version_id,
            run_id: Some(self.run.run_id),
            by: &by,
            reason: &reason,
        };
        let promotion = match promotion::promote(conn, self.model, order, self.now).await {
            Ok(promotion) => promotion,
            Err(Error::Conflict(cause)) => return Ok(end_failed(&cause)),
            Err(error) => return Err(error),
        };
        let from = promotion
            .from_name
            .clone()
            .unwrap_or_else(|| "no version".to_owned());
        if let Some(alert_id) = self.run.alert_id {
            let text = format!("{} was promoted in place of {from}", promotion.to_name);
            note(conn, alert_id, "promoted", &text, &by, self.now).await?;
        }
        let news = News {
            title: format!("{} is the champion now", promotion.to_name),
            what: format!(
                "{} was promoted in place of {from}: {reason}.",
                promotion.to_name
            ),
            version: promotion.to_name.clone(),
            causes: vec![delivery::change_cause(
                format!("{from} became a shadow"),
                "it can be promoted again".into(),
            )],
            ..News::default()
        };
        self.tell(conn, NotifyReason::CandidatePromoted, news)
            .await?;
        Ok(StepResult::Done {
            detail: json!({"from": promotion.from_name, "to": promotion.to_name, "reason": reason, "by": by}),
        })
    }

    /// The version named by the watch that proposed this run, or the one the last promotion replaced.
    async fn previous(&self, conn: &mut PgConnection) -> Result<Option<VersionId>, Error> {
        if let Some(name) = self.run.parameters.get("previous").and_then(Value::as_str) {
            let versions = models::versions(conn, self.model.model_id).await?;
            return Ok(versions
                .into_iter()
                .find(|v| v.name == name)
                .map(|v| v.version_id));
        }
        let promotions =
            runs::promotions(conn, self.run.project_id, Some(self.model.model_id)).await?;
        Ok(promotions
            .last()
            .and_then(|promotion| promotion.from_version))
    }

    /// What the gate of this run has found last.
    async fn gated(&self, conn: &mut PgConnection) -> Result<Option<GateResult>, Error> {
        let results = runs::gate_results(conn, self.run.project_id).await?;
        Ok(results
            .into_iter()
            .rfind(|result| result.run_id == self.run.run_id))
    }

    /// Why what the gate has found does not count any more, if it does not: another version may have been promoted since,
    /// with which the candidate was never compared. Holds until the transaction ends.
    async fn outdated(
        &self,
        conn: &mut PgConnection,
        version_id: VersionId,
    ) -> Result<Option<String>, Error> {
        models::lock(conn, self.model.model_id).await?;
        let (gated, champion) = (self.gated(conn).await?, self.champion(conn).await?);
        let others = |gated: &GateResult| {
            gated.candidate == version_id
                && champion
                    .is_some_and(|champion| ![gated.champion, version_id].contains(&champion))
        };
        Ok(gated.filter(others).map(|gated| {
            format!(
                "{} was compared with {}, which is not the champion any more",
                gated.candidate_name, gated.champion_name
            )
        }))
    }

    /// Who approved the run, and why the version is promoted.
    async fn authority(&self, conn: &mut PgConnection) -> Result<(String, String), Error> {
        let approvals = runs::approvals(conn, self.run.run_id).await?;
        let approved = approvals
            .into_iter()
            .rfind(|a| a.decision.as_deref() == Some("approved"));
        let gated = self.gated(conn).await?;
        let by = approved
            .as_ref()
            .and_then(|a| a.decided_by.clone())
            .unwrap_or_else(|| self.run.started_by.clone());
        let reason = match (gated, approved.and_then(|a| a.reason)) {
            (Some(gate), _) => gate.reason,
            (None, Some(reason)) => reason,
            (None, None) => self.run.title.clone(),
        };
        Ok((by, reason))
    }

    // ── watch ────────────────────────────────────────────────────────────────────────────────────────

    async fn watch(
        &self,
        conn: &mut PgConnection,
        definition: &Watch,
    ) -> Result<StepResult, Error> {
        let promotions =
            runs::promotions(conn, self.run.project_id, Some(self.model.model_id)).await?;
        let Some(promotion) = promotions
            .iter()
            .rfind(|p| p.run_id == Some(self.run.run_id))
        else {
            return Ok(end_failed("nothing was promoted that could be watched"));
        };
        if promotions.last().map(|p| p.promotion_id) != Some(promotion.promotion_id) {
            let conclusion = "another version has been promoted since; its own watch goes on";
            return Ok(StepResult::Done {
                detail: self.watched(&self.known(), conclusion),
            });
        }
        let measure = self.measure(conn, definition.measure).await?;
        let seen = watch::look(
            conn,
            self.model,
            promotion,
            (definition, measure),
            self.known(),
            self.now,
        )
        .await?;
        if seen.proposes_rollback {
            let conclusion = self
                .propose(conn, definition, measure, promotion, &seen.windows)
                .await?;
            return Ok(StepResult::Done {
                detail: self.watched(&seen.windows, &conclusion),
            });
        }
        if self.is_new() || seen.grew {
            let detail = self.watched(&seen.windows, "the champion holds");
            return Ok(StepResult::Goes {
                state: "running",
                detail,
            });
        }
        Ok(StepResult::Unchanged)
    }

    fn known(&self) -> Vec<WatchedWindow> {
        self.step
            .detail
            .get("windows")
            .and_then(|w| serde_json::from_value(w.clone()).ok())
            .unwrap_or_default()
    }

    fn watched(&self, windows: &[WatchedWindow], conclusion: &str) -> Value {
        json!({"windows": windows, "conclusion": conclusion})
    }

    async fn propose(
        &self,
        conn: &mut PgConnection,
        definition: &Watch,
        measure: Measure,
        promotion: &Promotion,
        windows: &[WatchedWindow],
    ) -> Result<String, Error> {
        let former = promotion.from_name.clone().unwrap_or_default();
        let newest = windows.last();
        let value =
            |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |v| format!("{v:.2}"));
        let why = format!(
            "{former} has been better than {} for {} {}s in a row, last with {} {} against {}.",
            promotion.to_name,
            definition.windows,
            definition.grain.as_str(),
            measure.as_str(),
            value(newest.and_then(|w| w.former)),
            value(newest.and_then(|w| w.champion)),
        );
        let Some(runbook) =
            configuration::runbook(conn, self.run.project_id, &definition.propose).await?
        else {
            return Ok(format!(
                "{why} Runbook {:?} is not defined, so nothing was proposed.",
                definition.propose
            ));
        };
        let parameters = json!({"previous": former, "why": why, "proposed_by": self.run.run_id});
        let started_by = format!("watch of {}", promotion.to_name);
        let run = new_run(self.model, None, runbook, parameters, started_by, self.now);
        insert(self.services, conn, &run, self.now).await?;
        Ok(format!("{why} Run {} proposes to go back.", run.run_id))
    }
}

/// What a message about a run says, beside whom and when.
#[derive(Debug, Default)]
struct News {
    title: String,
    what: String,
    version: String,
    causes: Vec<Cause>,
    next_step: String,
}

fn end_failed(cause: &str) -> StepResult {
    StepResult::Ends {
        step: "failed",
        run: "failed",
        detail: json!({ "cause": cause }),
        outcome: cause.to_owned(),
    }
}

fn lines(causes: Vec<Cause>) -> Vec<String> {
    causes
        .into_iter()
        .map(|cause| format!("{}: {}", cause.title, cause.detail))
        .collect()
}
