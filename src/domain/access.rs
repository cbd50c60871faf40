//! Who may do what. A token carries scopes; a person has a role in a project, and the role stands for
//! scopes. What a request needs is always named as one [`Scope`], so that tokens and people are checked by
//! the same question: [`allows`].

use serde::{Deserialize, Serialize};

/// What a credential may do. `Operate` includes `Read`, `Admin` includes everything; `Ingest` stands alone,
/// so that a key lying in a model server can write and see nothing.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send predictions, labels, usage and cost.
    Ingest,
    /// See everything in the project.
    Read,
    /// Act on alerts and runs: approve, start, cancel.
    Operate,
    /// Change the project: models, configuration, people and tokens.
    Admin,
}

impl Scope {
    /// Every scope, weakest first.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Read, Self::Operate, Self::Admin];

    /// The name used in SQL, JSON and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    const fn implies(self, needed: Self) -> bool {
        matches!(
            (self, needed),
            (Self::Admin, _)
                | (Self::Operate, Self::Operate | Self::Read)
                | (Self::Read, Self::Read)
                | (Self::Ingest, Self::Ingest)
        )
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {0:?}; known are ingest, read, operate and admin")]
pub struct UnknownScope(pub String);

/// Whether a holder of `held` may do what needs `needed`.
#[must_use]
pub fn allows(held: &[Scope], needed: Scope) -> bool {
    held.iter().any(|scope| scope.implies(needed))
}

/// A person's part in a project.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum MemberRole {
    /// Sees everything, changes nothing.
    Viewer,
    /// Also acts on alerts and runs.
    Operator,
    /// Also changes the project, its people and tokens.
    Admin,
}

impl MemberRole {
    /// What the role may do.
    #[must_use]
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Viewer => &[Scope::Read],
            Self::Operator => &[Scope::Read, Scope::Operate],
            Self::Admin => &Scope::ALL,
        }
    }

    /// The name used in SQL, JSON and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for MemberRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Scope::{Admin, Ingest, Operate, Read};

    #[test]
    fn scopes_imply_exactly_what_the_table_says() {
        let table: [(&[Scope], &[Scope]); 7] = [
            (&[], &[]),
            (&[Ingest], &[Ingest]),
            (&[Read], &[Read]),
            (&[Operate], &[Read, Operate]),
            (&[Admin], &[Ingest, Read, Operate, Admin]),
            (&[Ingest, Read], &[Ingest, Read]),
            (&[Ingest, Operate], &[Ingest, Read, Operate]),
        ];
        for (held, expected) in table {
            let allowed: Vec<Scope> = Scope::ALL
                .into_iter()
                .filter(|needed| allows(held, *needed))
                .collect();
            assert_eq!(allowed, expected, "held {held:?}");
        }
    }

    #[test]
    fn roles_stand_for_scopes() {
        let table = [
            (MemberRole::Viewer, vec![Read]),
            (MemberRole::Operator, vec![Read, Operate]),
            (MemberRole::Admin, vec![Ingest, Read, Operate, Admin]),
        ];
        for (role, expected) in table {
            let allowed: Vec<Scope> = Scope::ALL
                .into_iter()
                .filter(|needed| allows(role.scopes(), *needed))
                .collect();
            assert_eq!(allowed, expected, "{role}");
        }
    }

    #[test]
    fn names_of_scopes_are_read_back_and_others_refused() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert_eq!("Admin".parse::<Scope>(), Err(UnknownScope("Admin".into())));
    }
}
