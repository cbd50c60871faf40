//! Styles and scripts, compiled in. Their addresses carry a hash of all of them, so a browser may keep them
//! for ever and a new version is never mixed with an old page.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($name:literal as $content_type:literal),+ $(,)?) => {
        &[$(File {
            name: $name,
            content_type: $content_type,
            content: include_bytes!(concat!("../../assets/", $name)),
        }),+]
    };
}

/// A list and not a folder: what else lies there (licences, lock files) is nobody's to fetch.
const FILES: &[File] = files![
    "app.css" as "text/css; charset=utf-8",
    "app.js" as "text/javascript; charset=utf-8",
    "icon.svg" as "image/svg+xml",
    "vendor/uplot/uPlot.iife.min.js" as "text/javascript; charset=utf-8",
    "vendor/uplot/uPlot.min.css" as "text/css; charset=utf-8",
];

/// Hash of all files, the same for each: they are made for one another.
static REVISION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in FILES {
        hash.update(Sha256::digest(file.content));
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
});

/// The address of a file.
#[must_use]
pub fn address(name: &str) -> String {
    format!("/assets/{}/{name}", REVISION.as_str())
}

/// `GET /assets/{revision}/{*name}`. An old revision is not found rather than answered with another file.
pub(super) async fn serve(Path((revision, name)): Path<(String, String)>) -> Response {
    let file = FILES
        .iter()
        .find(|file| file.name == name && revision == REVISION.as_str());
    match file {
        Some(file) => (
            [
                (header::CONTENT_TYPE, file.content_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            file.content,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
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
            (
                revision.clone(),
                "vendor/uplot/uPlot.iife.min.js",
                StatusCode::OK,
            ),
            (revision.clone(), "package.json", StatusCode::NOT_FOUND),
            (revision, "../Cargo.toml", StatusCode::NOT_FOUND),
            ("0".to_owned(), "app.css", StatusCode::NOT_FOUND),
        ] {
            let response = serve(Path((revision, name.to_owned()))).await;
            assert_eq!(response.status(), status, "{name}");
        }
    }
}
