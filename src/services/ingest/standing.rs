//! What requests depend on and what rarely changes: who presents a token, and what a model is like.
//!
//! It is kept, and yet a revoked token or a new champion counts from the next request on, in every replica: each
//! project counts its changes (`generation`, migration 0004), and every request asks for that one number before
//! it relies on what is kept. Requests that come together ask together, so under load it is one small query at a
//! time, whatever the number of requests, tokens and models.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::domain::ids::ProjectId;
use crate::domain::mapping::ColumnMap;
use crate::domain::model::Task;
use crate::services::access::{Admission, Principal, admit_token};
use crate::services::coalescing::Coalescing;
use crate::services::patience::answered;
use crate::services::{Error, configuration, registry};
use crate::storage::models::{self, Model};
use crate::storage::retention;

/// How many tokens and how many models are kept; beyond, all are forgotten and looked up again.
const KEPT: usize = 10_000;

/// What rows are sent to.
#[derive(Debug)]
pub(super) struct Target {
    pub model: Model,
    pub champion: Option<String>,
    pub versions: HashSet<String>,
    pub auto_registers: bool,
    pub columns: ColumnMap,
    /// No prediction of before is taken in any more.
    pub closed_before: Option<DateTime<Utc>>,
    /// The project's when it was looked up, or earlier.
    generation: i64,
}

impl Target {
    async fn look_up(
        pool: &PgPool,
        project_id: ProjectId,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let mut conn = pool.acquire().await?;
        // First, so that a change meanwhile is noticed at the next request.
        let generation = models::generation(&mut conn, project_id).await?;
        let model = registry::model_for_intake(&mut conn, project_id, name, now).await?;
        let champion = registry::champion(&mut conn, &model).await?;
        let versions = models::versions(&mut conn, model.model_id).await?;
        let marks = retention::marks(&mut conn, project_id).await?;
        let definition = configuration::model_definition(&mut conn, &model).await?;
        Ok(Self {
            closed_before: marks.raw_closed_before,
            columns: definition
                .map(|definition| definition.columns)
                .unwrap_or_default(),
            champion: champion.map(|champion| champion.version),
            versions: versions.into_iter().map(|version| version.name).collect(),
            auto_registers: models::auto_registers(&mut conn, project_id).await?,
            model,
            generation,
        })
    }

    pub(super) fn task(&self) -> Task {
        self.model.task
    }

    pub(super) fn has_version(&self, version: &str) -> bool {
        self.versions.contains(version)
    }
}

/// A token is not kept as it is.
type TokenDigest = [u8; 32];

/// What is kept.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pool: PgPool,
    generations: Coalescing<ProjectId, i64>,
    callers: Kept<TokenDigest, Admission>,
    targets: Kept<(ProjectId, String), Target>,
}

impl Standing {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            generations: Coalescing::default(),
            callers: Kept::default(),
            targets: Kept::default(),
        }
    }

    /// Who presents this token.
    pub(super) async fn caller(
        &self,
        now: DateTime<Utc>,
        presented: &str,
    ) -> Result<Principal, Error> {
        let digest: TokenDigest = Sha256::digest(presented).into();
        let mut kept = self.callers.get(&digest);
        if let Some(admission) = &kept {
            let generation = self.generation(admission.principal.project_id).await?;
            kept = kept.filter(|kept| kept.generation == generation && now < kept.until);
        }
        let admission = match kept {
            Some(kept) => kept,
            None => {
                let (pool, presented) = (self.pool.clone(), presented.to_owned());
                let look_up = move || {
                    let (pool, presented) = (pool.clone(), presented.clone());
                    async move { answered(&pool, admit_token(&pool, now, &presented)).await? }
                };
                self.callers.look_up(digest, look_up).await?
            }
        };
        Ok(Principal {
            generation: Some(admission.generation),
            ..admission.principal.clone()
        })
    }

    /// Who presents this token, if nothing has changed since it was looked up: nobody has asked.
    pub(super) fn known_caller(&self, now: DateTime<Utc>, presented: &str) -> Option<Principal> {
        let digest: TokenDigest = Sha256::digest(presented).into();
        let kept = self.callers.get(&digest).filter(|kept| now < kept.until)?;
        Some(Principal {
            generation: Some(kept.generation),
            ..kept.principal.clone()
        })
    }

    /// What rows for a model are sent to. `generation` is the project's if the request has asked for it already.
    pub(super) async fn target(
        &self,
        (project_id, name): (ProjectId, &str),
        generation: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Target>, Error> {
        let key = (project_id, name.to_owned());
        if let Some(kept) = self.targets.get(&key) {
            let generation = match generation {
                Some(generation) => generation,
                None => self.generation(project_id).await?,
            };
            if kept.generation == generation {
                return Ok(kept);
            }
        }
        let (pool, (project_id, name)) = (self.pool.clone(), key.clone());
        let look_up = move || {
            let (pool, name) = (pool.clone(), name.clone());
            async move { answered(&pool, Target::look_up(&pool, project_id, &name, now)).await? }
        };
        self.targets.look_up(key, look_up).await
    }

    /// What rows for a model are sent to, if it was looked up in that generation: nobody has asked, and nothing is
    /// registered.
    pub(super) fn known_target(
        &self,
        (project_id, name): (ProjectId, &str),
        generation: Option<i64>,
    ) -> Option<Arc<Target>> {
        let kept = self.targets.get(&(project_id, name.to_owned()))?;
        (Some(kept.generation) == generation).then_some(kept)
    }

    async fn generation(&self, project_id: ProjectId) -> Result<i64, Error> {
        let pool = self.pool.clone();
        let look_up = move || {
            let pool = pool.clone();
            async move {
                let reading = async {
                    let mut conn = pool.acquire().await?;
                    Ok(models::generation(&mut conn, project_id).await?)
                };
                answered(&pool, reading).await?
            }
        };
        self.generations.get(project_id, look_up).await
    }
}

/// Values by key, each looked up by one query at a time.
#[derive(Debug)]
struct Kept<K, V> {
    values: Arc<Mutex<HashMap<K, Arc<V>>>>,
    looking_up: Coalescing<K, Arc<V>>,
}

impl<K, V> Clone for Kept<K, V> {
    fn clone(&self) -> Self {
        Self {
            values: self.values.clone(),
            looking_up: self.looking_up.clone(),
        }
    }
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self {
            values: Arc::default(),
            looking_up: Coalescing::default(),
        }
    }
}

impl<K, V> Kept<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    fn get(&self, key: &K) -> Option<Arc<V>> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(key).cloned()
    }

    /// Looks up and keeps; what cannot be found is not kept.
    async fn look_up<F>(
        &self,
        key: K,
        look_up: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Arc<V>, Error>
    where
        F: Future<Output = Result<V, Error>> + Send + 'static,
    {
        let finding = move || {
            let found = look_up();
            async move { found.await.map(Arc::new) }
        };
        let found = self.looking_up.get(key.clone(), finding).await?;
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() >= KEPT && !values.contains_key(&key) {
            values.clear();
        }
        values.insert(key, found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::ids::VersionId;
    use crate::domain::model::Role;
    use crate::services::access::{NewToken, Scope, TokenRequest, create_token, revoke_token};
    use crate::services::registry::{NewModel, PRODUCTION, register_model};
    use crate::storage::access as stored;
    use crate::storage::models::Version;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a valid instant")
    }

    async fn project(pool: &PgPool) -> ProjectId {
        let mut conn = pool.acquire().await.expect("a connection");
        let id = ProjectId::new(at(0));
        stored::project_named(&mut conn, id, "default", false, at(0))
            .await
            .expect("made")
    }

    async fn token(
        pool: &PgPool,
        project_id: ProjectId,
        expires_at: Option<DateTime<Utc>>,
    ) -> NewToken {
        let request = TokenRequest {
            name: "trainer",
            scopes: &[Scope::Ingest],
            expires_at,
        };
        create_token(pool, at(0), project_id, &request, "person:ada")
            .await
            .expect("made")
    }

    async fn deploy(pool: &PgPool, model: &Model, name: &str, seconds: i64) {
        let mut conn = pool.acquire().await.expect("a connection");
        let version = Version {
            version_id: VersionId::new(at(seconds)),
            name: name.to_owned(),
            parent_id: None,
            lineage: serde_json::json!({}),
            created_at: at(seconds),
            created_by: "person:ada".to_owned(),
        };
        let (version_id, _) = models::add_version(&mut conn, model, &version)
            .await
            .expect("added");
        if let Some(champion) = registry::champion(&mut conn, model).await.expect("reads") {
            models::end_deployment(&mut conn, champion.version_id, PRODUCTION, at(seconds))
                .await
                .expect("ended");
        }
        models::deploy(
            &mut conn,
            model,
            version_id,
            PRODUCTION,
            Role::Champion,
            1.0,
            at(seconds),
        )
        .await
        .expect("deployed");
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn a_token_that_is_kept_is_refused_once_it_is_revoked_or_has_expired(pool: PgPool) {
        let project_id = project(&pool).await;
        let standing = Standing::new(pool.clone());
        let made = token(&pool, project_id, Some(at(30))).await;
        for seconds in [1, 2] {
            let caller = standing
                .caller(at(seconds), &made.secret)
                .await
                .expect("known");
            assert_eq!(caller.project_id, project_id);
            assert!(caller.generation.is_some());
        }
        let expired = standing.caller(at(30), &made.secret).await;
        assert!(
            matches!(expired, Err(Error::Unauthenticated(_))),
            "{expired:?}"
        );
        standing.caller(at(3), &made.secret).await.expect("known");
        revoke_token(&pool, at(4), project_id, made.token_id, "person:ada")
            .await
            .expect("revoked");
        let revoked = standing.caller(at(5), &made.secret).await;
        assert!(
            matches!(revoked, Err(Error::Unauthenticated(_))),
            "{revoked:?}"
        );
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn the_use_of_a_token_that_is_kept_is_noted_every_minute(pool: PgPool) {
        let project_id = project(&pool).await;
        let standing = Standing::new(pool.clone());
        let made = token(&pool, project_id, None).await;
        let mut noted = Vec::new();
        for seconds in [0, 1, 59, 60, 61, 300] {
            standing
                .caller(at(seconds), &made.secret)
                .await
                .expect("known");
            let mut conn = pool.acquire().await.expect("a connection");
            let tokens = stored::tokens(&mut conn, project_id).await.expect("reads");
            noted.push(tokens[0].last_used_at.expect("noted") - at(0));
        }
        assert_eq!(noted, [0, 0, 0, 60, 60, 300].map(TimeDelta::seconds));
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn a_model_is_looked_up_again_when_something_has_changed_and_only_then(pool: PgPool) {
        let project_id = project(&pool).await;
        let standing = Standing::new(pool.clone());
        let unknown = standing.target((project_id, "fares"), None, at(1)).await;
        assert!(
            matches!(unknown, Err(Error::NotFound { .. })),
            "{unknown:?}"
        );
        let mut conn = pool.acquire().await.expect("a connection");
        let new = NewModel::named("fares", Task::Regression);
        let model = register_model(&mut conn, project_id, &new, "person:ada", at(2))
            .await
            .expect("registered");
        deploy(&pool, &model, "v1", 3).await;
        let first = standing
            .target((project_id, "fares"), None, at(4))
            .await
            .expect("found");
        assert_eq!(first.champion.as_deref(), Some("v1"));
        let again = standing
            .target((project_id, "fares"), None, at(5))
            .await
            .expect("found");
        assert!(Arc::ptr_eq(&first, &again));

        deploy(&pool, &model, "v2", 6).await;
        let changed = standing
            .target((project_id, "fares"), None, at(7))
            .await
            .expect("found");
        assert_eq!(changed.champion.as_deref(), Some("v2"));
        assert!(changed.has_version("v1") && changed.has_version("v2"));

        let generation = models::generation(&mut conn, project_id)
            .await
            .expect("reads");
        let known = standing
            .target((project_id, "fares"), Some(generation), at(8))
            .await;
        assert!(Arc::ptr_eq(&changed, &known.expect("found")));
        models::configure_project(&mut conn, project_id, "default", true, &[])
            .await
            .expect("configured");
        let open = standing
            .target((project_id, "fares"), None, at(9))
            .await
            .expect("found");
        assert!(open.auto_registers && !changed.auto_registers);
    }

    #[sqlx::test(migrator = "crate::storage::MIGRATOR")]
    async fn a_change_that_is_rolled_back_did_not_happen(pool: PgPool) {
        let project_id = project(&pool).await;
        let mut conn = pool.acquire().await.expect("a connection");
        let before = models::generation(&mut conn, project_id)
            .await
            .expect("reads");
        let mut tx = pool.begin().await.expect("begins");
        let new = NewModel::named("fares", Task::Regression);
        register_model(&mut tx, project_id, &new, "person:ada", at(1))
            .await
            .expect("registered");
        // The project's row is not locked before the end.
        let during = models::generation(&mut conn, project_id)
            .await
            .expect("reads");
        models::configure_project(&mut conn, project_id, "default", true, &[])
            .await
            .expect("configured meanwhile");
        tx.rollback().await.expect("rolls back");
        let after = models::generation(&mut conn, project_id)
            .await
            .expect("reads");
        assert_eq!((before, during), (after - 1, after - 1));
    }
}
