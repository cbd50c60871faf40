//! The OpenAPI description: what stands above the routes, and what every route has alike.

use axum::Json;
use serde_json::Value;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};

use super::auth::{Authorised, Read};
use super::problem::{MEDIA_TYPE, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Bellwether",
        description = "Observability and model monitoring. Times are RFC 3339 in UTC; errors are problem \
                       documents (RFC 9457). Each route names the scope its credential needs.",
    ),
    components(schemas(Problem))
)]
struct Head;

/// What stands above the routes.
pub fn head() -> OpenApi {
    Head::openapi()
}

/// The ways to present a credential that has scopes, by their names in the description.
const CREDENTIALS: [&str; 4] = ["token", "basic", "api_key", "session"];

/// Adds what all routes have alike, so that no route can forget it: handlers name the scope of a token; the
/// other ways to present one follow from it, and every route may answer with a problem.
pub fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    for (name, scheme) in schemes() {
        components.add_security_scheme(name, scheme);
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(operation_id(method, path));
            let scopes = operation.security.iter().flatten().find_map(token_scopes);
            if let Some(scopes) = scopes {
                let ways = CREDENTIALS.map(|name| SecurityRequirement::new(name, scopes.clone()));
                operation.security = Some(ways.to_vec());
            }
            let problem = ResponseBuilder::new()
                .description("Why not")
                .content(
                    MEDIA_TYPE,
                    Content::new(Some(Ref::from_schema_name("Problem"))),
                )
                .build();
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), problem.into());
        }
    }
    api
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", item.get.as_mut()),
        ("post", item.post.as_mut()),
        ("put", item.put.as_mut()),
        ("patch", item.patch.as_mut()),
        ("delete", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// A name that no other operation has, as generated clients call it: `get_models_model_intake`. The names of
/// the handlers will not do, because every module has its `list`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let words = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

/// The scopes a requirement asks of a token; read back from its JSON, the only way to its content.
fn token_scopes(requirement: &SecurityRequirement) -> Option<Vec<String>> {
    let json = serde_json::to_value(requirement).ok()?;
    let scopes = json.get("token")?.as_array()?;
    let scopes = scopes.iter().filter_map(Value::as_str);
    Some(scopes.map(str::to_owned).collect())
}

fn schemes() -> [(&'static str, SecurityScheme); 5] {
    let http = |scheme, description: &str| {
        let mut http = Http::new(scheme);
        http.description = Some(description.to_owned());
        SecurityScheme::Http(http)
    };
    [
        ("token", http(HttpAuthScheme::Bearer, "A token.")),
        (
            "basic",
            http(
                HttpAuthScheme::Basic,
                "A token as the password, for senders that know nothing else; the name is not looked at.",
            ),
        ),
        (
            "api_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "A token.",
            ))),
        ),
        (
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
                "bellwether",
                "The cookie of a person who signed in (`__Host-bellwether` over https). Changes also need \
                 the session's token in the header X-CSRF-Token.",
            ))),
        ),
        (
            "pipeline_run",
            http(
                HttpAuthScheme::Bearer,
                "The token of one pipeline run, sent to the pipeline when it was started.",
            ),
        ),
    ]
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", security(("token" = ["read"])),
    responses((status = 200, description = "OpenAPI 3.1", body = Value))
)]
pub async fn serve(_caller: Authorised<Read>) -> Json<OpenApi> {
    Json(super::openapi())
}
