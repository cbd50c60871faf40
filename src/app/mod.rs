//! Wiring: from a configuration to a running service, and its orderly end.

mod background;
pub mod demo;
mod edge;
mod pools;
mod replay_route;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::background::Background;
use self::pools::Pools;
use crate::archive::{Archive, BucketSettings};
use crate::cli::{self, Cli, Command, ServeOptions};
use crate::config::{ArchiveConfig, Config, Environment, MailConfig, MailTransport, SmtpSecurity};
use crate::domain::clock::{Clock, ReplayClock, SystemClock};
use crate::domain::pipeline::SecretName;
use crate::domain::retention::Policy;
use crate::formats::{Limits, MOST_CELLS_OF_A_BODY};
use crate::http::headers::{self, AllowedHosts};
use crate::http::{self, ApiParts, ApiState, OpenRequests};
use crate::notify::email::{Encryption, Mailer, SmtpSettings};
use crate::outbound::{HostPort, Outbound};
use crate::scheduler::Scheduler;
use crate::services::access::{FirstAdmin, OneTimePassword, Site, ensure_first_admin};
use crate::services::causes::Reports;
use crate::services::delivery::Outward;
use crate::services::ingest::Intake;
use crate::services::{Bounds, Custody, Nudges, Services, settle};
use crate::storage::cluster::{ClusterSettings, Durability, PrivateCluster};
use crate::storage::keys::KeyFilters;
use crate::storage::{MIGRATOR, replay};
use crate::telemetry::Telemetry;
use crate::web;

/// How long open requests may take once the service is told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// How long an SMTP server may take.
const SMTP_TIME_OUT: Duration = Duration::from_secs(30);

/// Runs a parsed command line.
///
/// # Errors
/// With a text that follows "could not".
pub async fn run(command: Cli) -> anyhow::Result<ExitCode> {
    match command.command {
        Command::Serve(options) => serve_until_stopped(options).await,
        Command::Demo(options) => {
            let happened = demo::run(options).await?;
            Ok(if happened {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::DemoPipeline { state } => {
            demo::pipeline::serve(&state).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Client(command) => cli::run(command).await,
        Command::Openapi => {
            println!("{}", http::openapi().to_pretty_json()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve_until_stopped(options: ServeOptions) -> anyhow::Result<ExitCode> {
    let mut environment = Environment::of_process();
    if let Some(listen) = options.listen {
        environment = environment.with("BELLWETHER_SERVER_LISTEN", listen);
    }
    if let Some(data_dir) = options.data_dir {
        environment = environment.with(
            "BELLWETHER_STORAGE_DATA_DIR",
            data_dir.display().to_string(),
        );
    }
    let config = Config::load(options.config.as_deref(), &environment)?;
    let service = Service::start(&config, ClockMode::Live, "default").await?;
    if let FirstSignIn(Some(password)) = &service.first_sign_in {
        println!(
            "Sign in at {} as {} with this password; it is shown only now:",
            service.services.public_url, password.email
        );
        println!("{}", password.reveal());
    }
    service.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// Which clock the service lives by.
#[derive(Debug, Clone, Copy)]
pub enum ClockMode {
    Live,
    /// Stands at `start`, or where an earlier replay into the same database stopped, until it is advanced.
    Replay {
        start: DateTime<Utc>,
    },
}

/// The first person who can sign in, told once.
#[derive(Debug)]
pub struct FirstSignIn(pub Option<OneTimePassword>);

/// A running service.
#[derive(Debug)]
pub struct Service {
    pub services: Services,
    pub address: SocketAddr,
    pub first_sign_in: FirstSignIn,
    pools: Pools,
    cluster: Option<Arc<PrivateCluster>>,
    telemetry: Telemetry,
    stop: watch::Sender<bool>,
    tasks: JoinHandle<()>,
    edge: JoinHandle<std::io::Result<()>>,
    supervision: JoinHandle<anyhow::Result<()>>,
    /// Ends after what uses its connections.
    _background: Background,
}

impl Service {
    /// Starts everything: Postgres where none is given, the schema, the background tasks, the edge.
    ///
    /// # Errors
    /// With a text that says what is wrong and what to do.
    pub async fn start(config: &Config, mode: ClockMode, project: &str) -> anyhow::Result<Self> {
        let telemetry =
            crate::telemetry::init(&config.telemetry).context("set up logs and telemetry")?;
        for variable in &config.unknown_variables {
            tracing::warn!(variable, "this environment variable is not a setting");
        }
        let cluster = private_cluster(config).await?;
        let pools = connect(config, cluster.as_deref()).await?;
        let pool = pools.front.clone();
        MIGRATOR
            .run(&pool)
            .await
            .context("bring the database's schema up to date")?;
        crate::faults::crash_point("start.migrated");
        let not_durable = durability(&pool).await?;
        let wall: Arc<dyn Clock> = Arc::new(SystemClock);
        let replay = replay_clock(&pool, mode).await?;
        let clock: Arc<dyn Clock> = match &replay {
            Some(replay) => Arc::new(replay.clone()),
            None => wall.clone(),
        };
        // Whatever may keep the service from starting comes before the first password, which is told only once.
        let listener = listen(config).await?;
        let address = listener
            .local_addr()
            .context("ask for the address that is listened on")?;
        let public_url = config.server.base_url(address).to_string();
        let outward = outward(config)?;
        let first = FirstAdmin {
            project_name: project,
            auto_register: false,
            email: "admin@localhost",
        };
        let first_sign_in = FirstSignIn(ensure_first_admin(&pool, wall.now(), &first).await?);

        let services = Services {
            bounds: bounds(config),
            key_filters: KeyFilters::default(),
            custody: custody(config)?,
            turns: settle::Turns::default(),
            intake: Intake::start(
                pools.intake.clone(),
                pools.landing.clone(),
                limits(config),
                config.intake.max_unsettled_rows,
            ),
            pool,
            clock,
            wall,
            public_url: public_url.clone(),
            replay,
            outward,
            nudges: Nudges::default(),
            causes: Reports::default(),
        };
        let in_background = Services {
            pool: pools.background.clone(),
            ..services.clone()
        };
        let background = Background::start().context("start the threads of background work")?;
        let scheduler = Scheduler::new(
            in_background,
            pools.alerting.clone(),
            background.handle(),
            &telemetry.meter(),
        );
        let router = router(
            config,
            &services,
            &pools,
            &scheduler,
            &telemetry,
            not_durable,
        )?;
        let (stop, stopping) = watch::channel(false);
        let tasks = tokio::spawn({
            let stopping = stopping.clone();
            async move { scheduler.run(stopping).await }
        });
        let edge = tokio::spawn(edge::serve(
            listener,
            router,
            most_open(config),
            edge::Instruments::new(&telemetry.meter()),
            stopping,
        ));
        let supervision = tokio::spawn(supervise(cluster.clone()));
        crate::faults::crash_point("start.before_ready");
        tracing::info!(%public_url, "ready");
        Ok(Self {
            services,
            address,
            first_sign_in,
            pools,
            cluster,
            telemetry,
            stop,
            tasks,
            edge,
            supervision,
            _background: background,
        })
    }

    /// Runs until it is told to stop by a signal, or something it cannot live without ends.
    ///
    /// # Errors
    /// When the edge or Postgres ended by itself.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = stop_signal() => {
                tracing::info!("stopping");
                Ok(())
            }
            edge = &mut self.edge => edge.context("the edge panicked").and_then(|e| e.context("the edge ended")),
            supervised = &mut self.supervision => supervised.context("supervision panicked").and_then(|s| s),
        };
        self.stop().await;
        ended
    }

    /// Stops in order: no new requests, finish what is under way, then Postgres.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        crate::faults::crash_point("shutdown.draining");
        let cut_off = self.edge.abort_handle();
        if !self.edge.is_finished() && tokio::time::timeout(DRAIN, self.edge).await.is_err() {
            cut_off.abort();
            tracing::warn!("some requests were cut off");
        }
        if tokio::time::timeout(DRAIN, self.tasks).await.is_err() {
            tracing::warn!(
                "some background work was cut off; it will be taken up at the next start"
            );
        }
        crate::faults::crash_point("shutdown.drained");
        self.pools.close().await;
        self.supervision.abort();
        if let Some(cluster) = self.cluster
            && let Err(error) = cluster.stop().await
        {
            tracing::error!(%error, "could not stop Postgres");
        }
        self.telemetry.shutdown(Duration::from_secs(5)).await;
    }
}

async fn private_cluster(config: &Config) -> anyhow::Result<Option<Arc<PrivateCluster>>> {
    if config.storage.database_url.is_some() {
        return Ok(None);
    }
    let mut settings = ClusterSettings::new(config.storage.data_dir.clone());
    settings.run_as.clone_from(&config.storage.run_as);
    settings
        .bin_dir
        .clone_from(&config.storage.postgres_bin_dir);
    let cluster = PrivateCluster::start(settings)
        .await
        .context("start the private Postgres")?;
    Ok(Some(Arc::new(cluster)))
}

async fn supervise(cluster: Option<Arc<PrivateCluster>>) -> anyhow::Result<()> {
    match cluster {
        Some(cluster) => cluster
            .supervise()
            .await
            .context("keep the private Postgres running"),
        None => std::future::pending().await,
    }
}

async fn connect(config: &Config, cluster: Option<&PrivateCluster>) -> anyhow::Result<Pools> {
    let options: PgConnectOptions = match (&config.storage.database_url, cluster) {
        (Some(url), _) => url.expose().parse().context("read DATABASE_URL")?,
        (None, Some(cluster)) => cluster.connect_options(),
        (None, None) => anyhow::bail!("there is neither a DATABASE_URL nor a private Postgres"),
    };
    let wait = Duration::from_millis(config.intake.database_wait_ms);
    Pools::connect(options, config.storage.connections, wait).await
}

/// How much one body may bring. Packed or not, it is no more than one that comes as it is can hold; as many values as these
/// take some fifty megabytes, and as much again while they are written down.
fn limits(config: &Config) -> Limits {
    let unpacked = config.intake.max_inflated_bytes;
    Limits {
        max_rows: config.intake.max_rows,
        max_cells: MOST_CELLS_OF_A_BODY,
        max_text_bytes: usize::try_from(unpacked).unwrap_or(usize::MAX),
        max_unpacked_bytes: unpacked,
        max_unpacking_ratio: config.intake.max_inflation_ratio,
        ..Limits::default()
    }
}

fn bounds(config: &Config) -> Bounds {
    let days = i64::try_from(config.intake.orphan_label_days).unwrap_or(i64::MAX);
    let minutes = i64::try_from(config.intake.unpaired_event_minutes).unwrap_or(i64::MAX);
    let hours = i64::try_from(config.alerting.annotate_after_hours).unwrap_or(i64::MAX);
    let most = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Bounds {
        orphan_label_age: TimeDelta::days(days),
        unpaired_age: TimeDelta::minutes(minutes),
        annotate_after: TimeDelta::hours(hours),
        features: most(config.intake.max_features),
        segment_values: most(config.intake.max_segment_values),
    }
}

fn custody(config: &Config) -> anyhow::Result<Custody> {
    let days = |days: u64| u32::try_from(days).unwrap_or(u32::MAX);
    let kept = &config.retention;
    Ok(Custody {
        policy: Policy {
            raw_days: days(kept.raw_days),
            profile_days: days(kept.profile_days),
            measurement_days: days(kept.measurement_days),
        },
        days_ahead: days(kept.partitions_ahead_days),
        archive: config.archive.as_ref().map(archive).transpose()?,
    })
}

fn archive(config: &ArchiveConfig) -> anyhow::Result<Archive> {
    let archive = match config {
        ArchiveConfig::Folder(folder) => Archive::folder(folder.clone()),
        ArchiveConfig::Bucket(bucket) => Archive::bucket(&BucketSettings {
            bucket: bucket.bucket.clone(),
            prefix: bucket.prefix.clone(),
            endpoint: bucket.endpoint.as_ref().map(ToString::to_string),
            region: bucket.region.clone(),
            access_key_id: bucket.access_key_id.clone(),
            secret_access_key: (bucket.secret_access_key.as_ref())
                .map(|secret| secret.expose().to_owned()),
        }),
    };
    archive.context("set up [archive]")
}

/// How many connections of clients there may be, and how many requests.
fn most_open(config: &Config) -> usize {
    usize::try_from(config.server.max_connections).unwrap_or(usize::MAX)
}

async fn durability(pool: &PgPool) -> anyhow::Result<Vec<&'static str>> {
    let mut conn = pool.acquire().await?;
    let off = Durability::check(&mut conn)
        .await
        .context("read the database's settings")?
        .switched_off();
    for setting in &off {
        tracing::error!(
            setting,
            "is off: what is acknowledged can be lost when the database's machine fails"
        );
    }
    Ok(off)
}

async fn replay_clock(pool: &PgPool, mode: ClockMode) -> anyhow::Result<Option<ReplayClock>> {
    let ClockMode::Replay { start } = mode else {
        return Ok(None);
    };
    let mut conn = pool.acquire().await?;
    let reached = replay::reached(&mut conn).await?;
    Ok(Some(ReplayClock::starting_at(reached.unwrap_or(start))))
}

fn outward(config: &Config) -> anyhow::Result<Outward> {
    let mailer = config.mail.as_ref().map(mailer).transpose()?.map(Arc::new);
    let allowed: Vec<HostPort> = config
        .outbound
        .allow_private
        .iter()
        .map(|target| {
            format!("{}:{}", target.host, target.port)
                .parse()
                .context("read [outbound] allow_private")
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Outward {
        mailer,
        outbound: Outbound::new(allowed).context("set up the outbound client")?,
        secrets: Arc::new(secret_from_environment),
    })
}

/// The value of a secret: the environment variable, or the file that `NAME_FILE` names.
fn secret_from_environment(name: &SecretName) -> Option<String> {
    if let Ok(value) = std::env::var(name.as_str()) {
        return Some(value);
    }
    let file = std::env::var(format!("{name}_FILE")).ok()?;
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text.trim_end().to_owned()),
        Err(error) => {
            tracing::error!(%name, file, %error, "could not read the file of a secret");
            None
        }
    }
}

fn mailer(mail: &MailConfig) -> anyhow::Result<Mailer> {
    let from = mail.from.to_string();
    match &mail.transport {
        MailTransport::Directory(directory) => Mailer::directory(&from, PathBuf::from(directory)),
        MailTransport::Smtp(smtp) => {
            let settings = SmtpSettings {
                host: smtp.host.clone(),
                port: smtp.port,
                encryption: match smtp.security {
                    SmtpSecurity::StartTls => Encryption::StartTls,
                    SmtpSecurity::Tls => Encryption::Tls,
                    SmtpSecurity::None => Encryption::None,
                },
                credentials: smtp.credentials.as_ref().map(|c| {
                    lettre::transport::smtp::authentication::Credentials::new(
                        c.username.clone(),
                        c.password.expose().to_owned(),
                    )
                }),
                time_out: SMTP_TIME_OUT,
            };
            Mailer::smtp(&from, &settings)
        }
    }
    .context("set up [mail]")
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.server.listen;
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "listen on {address}: another program may be using the port; choose another with --listen or [server] listen"
        )
    })
}

fn router(
    config: &Config,
    services: &Services,
    pools: &Pools,
    scheduler: &Scheduler,
    telemetry: &Telemetry,
    not_durable: Vec<&'static str>,
) -> anyhow::Result<Router> {
    let metrics = telemetry.clone();
    let instruments = http::Instruments::new(&telemetry.meter());
    let open = http::OpenRequests::new(most_open(config), instruments.clone());
    let state = ApiState::from(ApiParts {
        services: services.clone(),
        site: Site::at(&services.public_url)?,
        metrics: Arc::new(move || metrics.render()),
        not_durable: Arc::new(not_durable),
        instruments,
        intake_pool: pools.intake.clone(),
        bodies: http::Bodies::new(&config.intake, &telemetry.meter()),
    });
    let mut api = http::router(state.clone());
    if services.replay.is_some() {
        api = api.merge(replay_route::router(scheduler.clone(), state));
    }
    let hosts = AllowedHosts::new(
        &services.public_url,
        config.server.trusted_hosts.iter().map(String::as_str),
    );
    Ok(api
        .merge(web_router(services))
        .fallback(web::not_found)
        .layer(from_fn_with_state((hosts, open), outermost)))
}

/// What is around everything, in one layer: every request clones all of them.
async fn outermost(
    State((hosts, open)): State<(AllowedHosts, OpenRequests)>,
    request: Request,
    next: Next,
) -> Response {
    let answer = |request| http::bound_requests(&open, request, next);
    headers::guard(&hosts, request, answer).await
}

/// The pages; their forms are small, and sent by a browser in one go.
fn web_router(services: &Services) -> Router {
    web::router()
        .layer(from_fn(http::bound_reads))
        .layer(from_fn(http::bound_forms))
        .with_state(services.clone())
}

async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
