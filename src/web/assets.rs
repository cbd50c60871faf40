//! Styles and scripts, embedded in the binary. Their addresses carry a hash of their content, so a browser
//! may keep them for ever and a new version is never mixed with an old page.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

#[derive(RustEmbed)]
#[folder = "assets/"]
#[include = "app.css"]
#[include = "app.js"]
#[include = "icon.svg"]
#[include = "vendor/uplot/*.js"]
#[include = "vendor/uplot/*.css"]
struct Embedded;

/// Hash of everything that is embedded, the same for all files: they are made for each other.
static REVISION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Embedded::iter().collect();
    names.sort_unstable();
    let mut hash = Sha256::new();
    for name in names {
        hash.update(name.as_bytes());
        if let Some(file) = Embedded::get(&name) {
            hash.update(file.metadata.sha256_hash());
        }
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
});

static CONTENT_TYPES: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    HashMap::from([
        ("css", "text/css; charset=utf-8"),
        ("js", "text/javascript; charset=utf-8"),
        ("svg", "image/svg+xml"),
    ])
});

/// The address of an embedded file.
#[must_use]
pub fn address(name: &str) -> String {
    format!("/assets/{}/{name}", REVISION.as_str())
}

/// `GET /assets/{revision}/{*name}`. An old revision is not found rather than answered with another file.
pub(super) async fn serve(Path((revision, name)): Path<(String, String)>) -> Response {
    let file = (revision == REVISION.as_str())
        .then(|| Embedded::get(&name))
        .flatten();
    let extension = name.rsplit('.').next().unwrap_or_default();
    match (file, CONTENT_TYPES.get(extension)) {
        (Some(file), Some(content_type)) => (
            [
                (header::CONTENT_TYPE, *content_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            file.data,
        )
            .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_served_under_their_revision_only() {
        let revision = REVISION.clone();
        for (revision, name, status) in [
            (revision.clone(), "app.css", StatusCode::OK),
            (revision.clone(), "vendor/uplot/uPlot.iife.min.js", StatusCode::OK),
            (revision.clone(), "package.json", StatusCode::NOT_FOUND),
            (revision, "../Cargo.toml", StatusCode::NOT_FOUND),
            ("0".to_owned(), "app.css", StatusCode::NOT_FOUND),
        ] {
            let response = serve(Path((revision, name.to_owned()))).await;
            assert_eq!(response.status(), status, "{name}");
        }
    }
}
