//! Making a new cluster, as a whole or not at all.
//!
//! `initdb` works in `postgres.new/`, which gets its real name only when it is finished. Whatever kills it half-way leaves
//! nothing that could be mistaken for a cluster, and the next start begins afresh.

use std::io::ErrorKind;
use std::time::Duration;

use rand::RngExt;

use super::account::Account;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::layout::{Layout, excerpt, make_private};

/// The one role of the cluster. It owns everything, and nobody else can get in.
pub(super) const ROLE: &str = "bellwether";

const INITDB_TIMEOUT: Duration = Duration::from_secs(300);

/// What the operating system says, through Postgres, about a full disk. Its programs run with English messages.
pub(super) const NO_SPACE: &str = "No space left on device";

/// The password of the cluster, which was made with it. It is kept outside of the cluster, so that it marks the cluster as ours
/// and the user that Postgres runs as cannot read it.
pub(super) fn read_password(layout: &Layout) -> Result<String, ClusterError> {
    let path = layout.password_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ClusterError::PasswordMissing {
            cluster: layout.cluster(),
            password_file: path,
        }),
        Err(error) => Err(ClusterError::file("read", &path)(error)),
    }
}

/// Makes the cluster and returns its password.
pub(super) async fn initialise(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
) -> Result<String, ClusterError> {
    let unfinished = layout.unfinished_cluster();
    remove_leftovers(layout)?;
    make_private(&unfinished)?;
    account.hand_over(&unfinished)?;
    let password = new_password();
    layout.write_private(&layout.password_file(), &password)?;
    run_initdb(layout, binaries, account, &password).await?;
    std::fs::rename(&unfinished, layout.cluster())
        .map_err(ClusterError::file("rename", &unfinished))?;
    layout.sync()?;
    Ok(password)
}

/// Removes what an earlier attempt left behind, and an empty folder where the cluster goes.
fn remove_leftovers(layout: &Layout) -> Result<(), ClusterError> {
    for folder in [layout.unfinished_cluster(), layout.cluster()] {
        let removed = if folder == layout.cluster() {
            std::fs::remove_dir(&folder)
        } else {
            std::fs::remove_dir_all(&folder)
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(ClusterError::file("remove", &folder)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn new_password() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn run_initdb(
    layout: &Layout,
    binaries: &Binaries,
    account: &Account,
    password: &str,
) -> Result<(), ClusterError> {
    // The user that Postgres runs as needs the password this once, in a file of its own.
    let handed_password = layout.root().join("postgres.password.initdb");
    layout.write_private(&handed_password, password)?;
    account.hand_over(&handed_password)?;
    let program = binaries.program("initdb");
    let mut command = account.command(&program);
    command
        .arg("--pgdata")
        .arg(layout.unfinished_cluster())
        .arg("--pwfile")
        .arg(&handed_password)
        .args(["--username", ROLE])
        .args(["--auth-local", "scram-sha-256", "--auth-host", "reject"])
        // The C collation sorts the same on every system: an upgrade of its libraries cannot break an index.
        .args(["--encoding", "UTF8", "--locale", "C"])
        .arg("--data-checksums")
        .kill_on_drop(true);
    let output = tokio::time::timeout(INITDB_TIMEOUT, command.output()).await;
    std::fs::remove_file(&handed_password)
        .map_err(ClusterError::file("remove", &handed_password))?;
    let (succeeded, said) = match output {
        Ok(output) => {
            let output = output.map_err(ClusterError::program(&program))?;
            let said = [output.stdout, output.stderr].concat();
            (output.status.success(), excerpt(&said))
        }
        Err(_) => (
            false,
            format!("it did not end within {} s", INITDB_TIMEOUT.as_secs()),
        ),
    };
    if succeeded {
        return Ok(());
    }
    if said.contains(NO_SPACE) {
        return Err(ClusterError::DiskFull {
            directory: layout.root().to_path_buf(),
            output: said,
        });
    }
    Err(ClusterError::InitFailed {
        cluster: layout.cluster(),
        output: said,
    })
}
