//! The pages to watch and to go live: static files of the web SDK's build, and what a page must know about this installation.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::http::api::{App, Problem, not_found};

/// Where the build is looked for, from the folder of the program: installed (`bin/` and `share/`), and in a checkout
/// (`target/<profile>/`). Never from the folder that somebody happens to start it in: what lies there is not ours to serve.
const BUILDS: [&str; 2] = ["../share/streams/web", "../../sdk/web/dist"];
/// The page behind `/watch/<id>`.
const WATCH_PAGE: &str = "watch.html";
/// The page behind `/go-live/<input id>`.
const GO_LIVE_PAGE: &str = "go-live.html";

/// The folder of the built page; it may be missing.
#[derive(Debug, Clone)]
pub struct WebRoot {
    folder: Option<PathBuf>,
}

impl WebRoot {
    /// `named` (flag or `STREAMS_WEB_DIR`), or the build that belongs to this program.
    pub fn find(named: Option<&Path>) -> Self {
        Self::beside(std::env::current_exe().ok().as_deref().and_then(Path::parent), named)
    }

    fn beside(program: Option<&Path>, named: Option<&Path>) -> Self {
        let found = || {
            let mut folders = BUILDS.iter().filter_map(|build| Some(program?.join(build)));
            folders.find(|folder| folder.join(WATCH_PAGE).is_file())
        };
        Self { folder: named.map(Path::to_owned).or_else(found).and_then(|folder| folder.canonicalize().ok()) }
    }

    /// The file at a URL path; `None` when there is none, or it would lie outside of the folder.
    async fn read(&self, path: &str) -> Option<(PathBuf, Vec<u8>)> {
        let relative = Path::new(path.trim_start_matches('/'));
        if !relative.components().all(|component| matches!(component, Component::Normal(_))) {
            return None;
        }
        let folder = self.folder.as_ref()?;
        let file = folder.join(relative).canonicalize().ok().filter(|file| file.starts_with(folder))?;
        Some((file.clone(), tokio::fs::read(file).await.ok()?))
    }
}

/// The routes of the pages and their files.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/watch/{id}", get(watch))
        .route("/go-live/{id}", get(go_live))
        .route("/watch-config.json", get(config))
        .fallback(file)
}

/// The same page for every id: it reads id and token from its own address.
async fn watch(State(app): State<Arc<App>>) -> Response {
    page(&app, WATCH_PAGE).await
}

/// The same page for every input: it reads the id from its own address, and the stream key from the address's fragment, which
/// never comes here.
async fn go_live(State(app): State<Arc<App>>) -> Response {
    page(&app, GO_LIVE_PAGE).await
}

async fn page(app: &App, name: &str) -> Response {
    let Some((_, page)) = app.web.read(name).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, Html(missing_page(name))).into_response();
    };
    let policy = content_security_policy(app);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        // The address may hold a token: nobody keeps the page, and no other site is told the address.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, page).into_response()
}

/// Scripts and styles of this origin only; WebTransport to the shards; media from memory.
fn content_security_policy(app: &App) -> HeaderValue {
    let text = format!(
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self' {}; base-uri 'none'; form-action 'none'; \
         object-src 'none'",
        app.endpoints.webtransport_policy_source()
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'self'"))
}

/// Where to connect, and the certificates to expect there.
async fn config(State(app): State<Arc<App>>) -> Response {
    let body = json!({
        "webtransport_base": app.endpoints.webtransport(),
        "certificate_hashes": app.certificates.hashes(),
    });
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body.to_string())
        .into_response()
}

async fn file(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let path = request.uri().path().to_owned();
    let wanted = request.method() == axum::http::Method::GET || request.method() == axum::http::Method::HEAD;
    let Some((file, content)) = (if wanted { app.web.read(&path).await } else { None }) else {
        return Err(not_found(request).await);
    };
    // The build puts a hash of the content into the names under assets/.
    let cache = if path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, content_type(&file)),
        (header::CACHE_CONTROL, cache),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, content).into_response())
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

fn missing_page(name: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Page not built</title>\
         <body style=\"font: 16px/1.5 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem\">\
         <h1>This page is not built</h1>\
         <p>This server found no <code>{name}</code> in <code>{}</code>, seen from its program. Build it with \
         <code>npm ci &amp;&amp; npm run build</code> in <code>sdk/web</code>, or name the folder of a build with \
         <code>--web-dir</code> or <code>STREAMS_WEB_DIR</code>, and start again.</p></body></html>",
        BUILDS.join("</code> or <code>")
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn the_page_is_found_beside_the_program_and_not_upward_from_anywhere() {
        let scratch = Scratch::new();
        let root = scratch.path().canonicalize().unwrap();
        let page = |folder: &str| {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join(WATCH_PAGE), "").unwrap();
        };
        let program = |folder: &str| {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap();
            WebRoot::beside(Some(&folder), None).folder
        };
        page("sdk/web/dist");
        page("usr/share/streams/web");
        assert_eq!(program("target/debug"), Some(root.join("sdk/web/dist")));
        assert_eq!(program("usr/bin"), Some(root.join("usr/share/streams/web")));
        assert_eq!(program("elsewhere/a/b/c"), None, "a folder above may be anybody's");
        let named = root.join("usr/share/streams/web");
        assert_eq!(WebRoot::beside(None, Some(&named)).folder, Some(named));
    }
}
