//! The user that Postgres runs as.
//!
//! Postgres refuses to run as root, so a service started as root gives it an unprivileged user. From then on the service
//! itself must not write, as root, to any path that user could replace by a link: such files lie in the data directory, which
//! stays root's, and only the cluster, its socket folder and nothing else are handed over.

use std::ffi::OsStr;
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::error::ClusterError;

/// Users to run as when none is configured; the packages of Postgres make the first.
const USUAL_USERS: [&str; 2] = ["postgres", "nobody"];

/// Variables that programs of Postgres may see. The rest stays with the service, because it may hold secrets.
const PASSED_VARIABLES: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];

/// The user that Postgres runs as, and whether it is a different one from ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    gid: u32,
    switch: bool,
}

/// The user and group that own something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Decides who runs Postgres: we ourselves, or when we are root the configured user, else the owner of the existing
    /// cluster, else the usual one.
    pub(super) async fn resolve(
        run_as: Option<&str>,
        cluster: &Path,
        owner: Option<Owner>,
    ) -> Result<Self, ClusterError> {
        let me = ids(None).await.ok_or(ClusterError::UnusableUser {
            user: String::new(),
            reason: "the program `id` does not say who we are",
        })?;
        let account = if me.uid == 0 {
            Self::unprivileged(run_as, owner).await?
        } else {
            Self::ourselves(run_as, me).await?
        };
        match owner {
            Some(owner) if owner.uid != account.uid => Err(ClusterError::NotOwned {
                cluster: cluster.to_path_buf(),
                owner: owner.uid,
                user: account.name,
            }),
            _ => Ok(account),
        }
    }

    async fn ourselves(run_as: Option<&str>, me: Owner) -> Result<Self, ClusterError> {
        if let Some(user) = run_as
            && ids(Some(user))
                .await
                .is_none_or(|other| other.uid != me.uid)
        {
            return Err(ClusterError::UnusableUser {
                user: user.to_owned(),
                reason: "only a service started as root can run it as a different user",
            });
        }
        Ok(Self {
            name: format!("uid {}", me.uid),
            uid: me.uid,
            gid: me.gid,
            switch: false,
        })
    }

    async fn unprivileged(
        run_as: Option<&str>,
        owner: Option<Owner>,
    ) -> Result<Self, ClusterError> {
        if let Some(user) = run_as {
            let found = ids(Some(user))
                .await
                .ok_or_else(|| ClusterError::UnusableUser {
                    user: user.to_owned(),
                    reason: "there is no such user",
                })?;
            return Self::switched(user, found);
        }
        if let Some(owner) = owner.filter(|owner| owner.uid != 0) {
            return Self::switched(&format!("uid {}", owner.uid), owner);
        }
        for user in USUAL_USERS {
            if let Some(found) = ids(Some(user)).await {
                return Self::switched(user, found);
            }
        }
        Err(ClusterError::UnusableUser {
            user: USUAL_USERS.join(" or "),
            reason: "there is no such user",
        })
    }

    fn switched(name: &str, owner: Owner) -> Result<Self, ClusterError> {
        if owner.uid == 0 {
            return Err(ClusterError::UnusableUser {
                user: name.to_owned(),
                reason: "Postgres refuses to run as root",
            });
        }
        Ok(Self {
            name: name.to_owned(),
            uid: owner.uid,
            gid: owner.gid,
            switch: true,
        })
    }

    /// A command that runs as this user, from a folder everybody may enter, in a small environment that speaks English: its
    /// messages are read for the few causes that deserve better advice.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env_clear().stdin(Stdio::null());
        for name in PASSED_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Hands a path that nobody else can have replaced over to this user.
    pub(super) fn hand_over(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.switch {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid)).map_err(ClusterError::file("hand over", path))
    }

    /// Whether a folder made by us before it could be handed over, or by this user, is found.
    pub(super) fn may_have_made(&self, uid: u32) -> bool {
        uid == self.uid || (self.switch && uid == 0)
    }

    /// Checks that this user can get into `directory`, and names the first folder on the way that is closed.
    pub(super) async fn check_can_enter(&self, directory: &Path) -> Result<(), ClusterError> {
        if !self.switch || self.can_enter(directory).await? {
            return Ok(());
        }
        let mut way: Vec<&Path> = directory.ancestors().collect();
        way.reverse();
        let mut closed = directory;
        for folder in way {
            if !self.can_enter(folder).await? {
                closed = folder;
                break;
            }
        }
        Err(ClusterError::NotTraversable {
            directory: closed.to_path_buf(),
            user: self.name.clone(),
        })
    }

    /// Really tries it, because mode bits do not tell the whole story (access lists, mount options).
    async fn can_enter(&self, directory: &Path) -> Result<bool, ClusterError> {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", "cd -- \"$1\"", "sh"]).arg(directory);
        let output = shell
            .output()
            .await
            .map_err(ClusterError::program(Path::new("/bin/sh")))?;
        Ok(output.status.success())
    }
}

/// The ids of a user, or our own, by the program `id`: it asks every directory service the system knows.
async fn ids(user: Option<&str>) -> Option<Owner> {
    Some(Owner {
        uid: id("-u", user).await?,
        gid: id("-g", user).await?,
    })
}

async fn id(which: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id")
        .arg(which)
        .args(user)
        .output()
        .await
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
