//! `bellwether demo`: the service lives through 2013 on the replay clock, with real flights, a really trained
//! champion and two really retrained candidates. Everything goes through the public API: a replay client sends
//! predictions and labels in their order of time, the retraining pipeline is a process of its own, and a
//! scripted person signs in and approves. Killed at any moment and started again with the same data directory,
//! it goes on where it was.

mod client;
mod data;
mod person;
pub mod pipeline;
mod replay;
mod story;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use self::client::Client;
use self::data::Flights;
use self::pipeline::PipelineProcess;
use super::{ClockMode, Service};
use crate::cli::DemoOptions;
use crate::config::{Config, Environment};
use crate::domain::access::{MemberRole, Scope};
use crate::services::access::{
    NewPerson, TokenRequest, add_person, create_token, list_people, reset_password,
};

/// The name of the demo's project, model and receiver, as in `demo/bellwether.yaml`.
const PROJECT: &str = "demo";
const MODEL: &str = "air-time";
const ADMIN: &str = "admin@localhost";
const APPROVER: &str = "dana@example.org";

/// What the demo has to remember across a restart, in a file that only its owner can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Credentials {
    admin_password: String,
    approver_password: String,
    token: String,
}

/// Runs the demo; returns whether the story happened.
///
/// # Errors
/// When something it needs fails: Postgres, the address, the data directory.
pub async fn run(options: DemoOptions) -> anyhow::Result<bool> {
    let scratch = Scratch::new(&options)?;
    let dir = scratch.path().to_owned();
    let pipeline = PipelineProcess::start(&dir.join("pipeline.json")).await?;
    let config = config(&options, &dir, &pipeline)?;
    let clock = ClockMode::Replay {
        start: data::start(),
    };
    let service = Service::start(&config, clock, PROJECT).await?;
    let credentials = credentials(&service, &dir).await?;
    let server = format!("http://{}", service.address);
    let client = Client::new(&server, &credentials.token)?;
    pipeline.introduce(&server, &credentials.token).await?;
    greet(&options, &dir, &server, &credentials);
    if service.services.clock.now() >= data::end() && !options.json {
        println!(
            "This year has been lived through already; remove {} to see it again.",
            dir.display()
        );
    }

    let flights = tokio::task::spawn_blocking(Flights::load).await??;
    let told = tokio::select! {
        told = tell(&options, &client, &flights, &pipeline, &server, &credentials) => told,
        () = super::stop_signal() => {
            service.stop().await;
            return Ok(true);
        }
    };
    let summary = told?;
    let happened = summary.missing.is_empty();
    report(&options, &summary, &server)?;
    if options.once {
        service.stop().await;
    } else {
        service.run().await?;
    }
    pipeline.stop().await;
    scratch.remove();
    Ok(happened)
}

async fn tell(
    options: &DemoOptions,
    client: &Client,
    flights: &Flights,
    pipeline: &PipelineProcess,
    server: &str,
    credentials: &Credentials,
) -> anyhow::Result<story::Summary> {
    replay::set_up(client, pipeline.address()).await?;
    let person = person::Person::sign_in(server, APPROVER, &credentials.approver_password).await?;
    let replay = replay::Replay::new(client, flights, &person, options.hands_on, options.json);
    replay.run().await?;
    story::summarise(client).await
}

/// The demo's directory: the one that was named, or one that lasts as long as a single telling.
#[derive(Debug)]
enum Scratch {
    Named(PathBuf),
    Passing(PathBuf),
}

impl Scratch {
    fn new(options: &DemoOptions) -> anyhow::Result<Self> {
        let scratch = match &options.data_dir {
            Some(dir) => Self::Named(dir.clone()),
            None if options.once => {
                let name = format!("bellwether-demo-{}", uuid::Uuid::new_v4().simple());
                Self::Passing(std::env::temp_dir().join(name))
            }
            // Not the working directory: started as root, Postgres runs as somebody who may not get there.
            None => Self::Named(std::env::temp_dir().join("bellwether-demo")),
        };
        let dir = scratch.path();
        std::fs::create_dir_all(dir)
            .with_context(|| format!("make the directory {}", dir.display()))?;
        Ok(scratch)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Passing(path) => path,
        }
    }

    fn remove(&self) {
        if let Self::Passing(path) = self
            && let Err(error) = std::fs::remove_dir_all(path)
        {
            tracing::warn!(path = %path.display(), %error, "could not remove the demo's directory");
        }
    }
}

fn config(options: &DemoOptions, dir: &Path, pipeline: &PipelineProcess) -> anyhow::Result<Config> {
    let listen = match (&options.listen, options.once) {
        (Some(listen), _) => listen.clone(),
        (None, true) => "127.0.0.1:0".to_owned(),
        (None, false) => "127.0.0.1:8420".to_owned(),
    };
    let mails = std::path::absolute(dir.join("mails")).context("find the mails' directory")?;
    std::fs::create_dir_all(&mails).context("make the mails' directory")?;
    let text = format!(
        "[mail]\nfrom = \"Bellwether <bellwether@localhost>\"\ndirectory = {mails:?}\n\n\
         [outbound]\nallow_private = [\"{}\"]\n",
        pipeline.address()
    );
    let level = if options.json { "error" } else { "warn" };
    let environment = Environment::of_process()
        .with("BELLWETHER_SERVER_LISTEN", listen)
        .with("BELLWETHER_STORAGE_DATA_DIR", dir.display().to_string())
        // The year is told once; a machine that is slow for a moment must not cost it a day.
        .with("BELLWETHER_INTAKE_DATABASE_WAIT_MS", "30000")
        .with(
            "BELLWETHER_TELEMETRY_LOG_FILTER",
            std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned()),
        );
    let file = Path::new("demo");
    Ok(Config::from_text(Some((file, &text)), &environment)?)
}

async fn credentials(service: &Service, dir: &Path) -> anyhow::Result<Credentials> {
    let file = dir.join("credentials.json");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return serde_json::from_str(&text).with_context(|| format!("read {}", file.display()));
    }
    let services = &service.services;
    let (pool, now) = (&services.pool, services.wall.now());
    let project_id = crate::storage::models::any_project(&mut *pool.acquire().await?).await?;
    // A first start that was cut off before the file was written leaves people whose passwords nobody knows.
    let admin_password = match &service.first_sign_in.0 {
        Some(one_time) => one_time.reveal().to_owned(),
        None => reset_password(pool, now, project_id, ADMIN, "demo")
            .await?
            .reveal()
            .to_owned(),
    };
    let known = list_people(pool, project_id)
        .await?
        .iter()
        .any(|person| person.email == APPROVER);
    let approver_password = if known {
        reset_password(pool, now, project_id, APPROVER, "demo").await?
    } else {
        let dana = NewPerson {
            email: APPROVER,
            display_name: "Dana Reyes",
            role: MemberRole::Operator,
        };
        add_person(pool, now, project_id, &dana, "demo").await?
    };
    let name = format!("replay {}", now.timestamp());
    let request = TokenRequest {
        name: &name,
        scopes: &[Scope::Admin, Scope::Ingest],
        expires_at: None,
    };
    let token = create_token(pool, now, project_id, &request, "demo").await?;
    let credentials = Credentials {
        admin_password,
        approver_password: approver_password.reveal().to_owned(),
        token: token.secret,
    };
    write_private(&file, &serde_json::to_vec_pretty(&credentials)?)?;
    Ok(credentials)
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let fresh = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options
        .open(&fresh)
        .with_context(|| format!("write {}", fresh.display()))?;
    out.write_all(content)?;
    out.sync_all()?;
    std::fs::rename(&fresh, file).with_context(|| format!("write {}", file.display()))
}

fn greet(options: &DemoOptions, dir: &Path, server: &str, credentials: &Credentials) {
    if options.json {
        return;
    }
    println!("Bellwether lives through 2013 at {server}");
    println!(
        "Sign in as {ADMIN} with the password {}",
        credentials.admin_password
    );
    println!("Postgres and the mails are kept in {}", dir.display());
    println!(
        "In August the replay sends wind_direction as text for three days, to make a real schema skew."
    );
    if options.hands_on {
        println!(
            "Approvals wait for you: the replay stands still until you decide on the page of the alert."
        );
    }
}

fn report(options: &DemoOptions, summary: &story::Summary, server: &str) -> anyhow::Result<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(&summary.json)?);
        return Ok(());
    }
    println!("{}", summary.text);
    for missing in &summary.missing {
        println!("The story lacks: {missing}");
    }
    if !options.once {
        println!("The year is over. Look around at {server}; Ctrl-C stops.");
    }
    Ok(())
}
