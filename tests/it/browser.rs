//! A real browser for tests: headless Chromium, steered through its WebDriver. Each [`Browser`] has a driver,
//! a free port and a profile of its own, so tests can run side by side. A missing browser fails a test and is
//! never a reason to skip it: the pages are the product.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Method;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use url::Url;

/// How long the driver may take to come up; a cold disk under a busy machine is slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Where to look for Chromium, in this order; the variable overrides.
const BROWSER: Program = Program {
    variable: "BELLWETHER_CHROMIUM",
    names: &[
        "chromium",
        "chromium-browser",
        "google-chrome",
        "/snap/bin/chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ],
    advice: "apt-get install chromium (Ubuntu: chromium-browser; macOS: brew install --cask google-chrome)",
};

/// Where to look for its driver, in this order; the variable overrides.
const DRIVER: Program = Program {
    variable: "BELLWETHER_CHROMEDRIVER",
    names: &[
        "chromedriver",
        "/usr/lib/chromium/chromedriver",
        "/snap/bin/chromium.chromedriver",
    ],
    advice: "apt-get install chromium-driver (Ubuntu: chromium-chromedriver; macOS: brew install --cask chromedriver)",
};

/// What the person before the screen has chosen; pages follow it through `prefers-color-scheme`.
#[derive(Debug, Clone, Copy)]
pub enum ColourScheme {
    Light,
    Dark,
}

/// A running browser. End it with [`Browser::close`]; when a test panics before that, dropping it ends the
/// processes the hard way.
pub struct Browser {
    client: Client,
    driver: Child,
    browser_pid: Option<u64>,
    profile: PathBuf,
}

impl Browser {
    /// Starts a driver and a headless browser with an empty profile and a window of 1280 by 900.
    ///
    /// # Panics
    /// When Chromium or its driver is not installed, naming the package, or does not start.
    pub async fn start() -> Self {
        let browser = BROWSER.find();
        let profile = new_profile();
        let (driver, port) = start_driver(&DRIVER.find()).await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&browser, &profile))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("the driver starts the browser");
        let browser_pid = client
            .capabilities()
            .and_then(|capabilities| capabilities.get("goog:processID"))
            .and_then(Value::as_u64);
        Self {
            client,
            driver,
            browser_pid,
            profile,
        }
    }

    /// The WebDriver session: navigation, elements, forms.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes pages see `scheme` as the person's preference, from now on.
    pub async fn prefer(&self, scheme: ColourScheme) {
        let value = match scheme {
            ColourScheme::Light => "light",
            ColourScheme::Dark => "dark",
        };
        self.client
            .issue_cmd(DevToolsCommand {
                name: "Emulation.setEmulatedMedia",
                parameters: json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
            })
            .await
            .expect("the browser takes the colour scheme");
    }

    /// Writes what the window shows to `target/tmp/screenshots/NAME.png`, for people to look at.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&folder).expect("the folder for screenshots can be made");
        let file = folder.join(format!("{name}.png"));
        let picture = self
            .client
            .screenshot()
            .await
            .expect("the browser takes a picture");
        std::fs::write(&file, picture).expect("the picture can be written");
        file
    }

    /// Ends the browser and its driver, and waits until the driver is gone.
    pub async fn close(mut self) {
        self.client
            .clone()
            .close()
            .await
            .expect("the browser closes");
        self.browser_pid = None;
        self.driver.kill().await.expect("the driver can be stopped");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both calls fail when the process is gone already, which is what is wanted.
        let _ = self.driver.start_kill();
        if let Some(pid) = self.browser_pid {
            // The shell has `kill` built in; the program of that name is not on every machine.
            let _ = Command::new("sh")
                .args(["-c", &format!("kill -KILL {pid}")])
                .stderr(Stdio::null())
                .status();
        }
        remove_profile(&self.profile);
    }
}

/// Removes the profile; the browser's own children may still write to it for a moment after its end.
fn remove_profile(profile: &Path) {
    for _ in 0..100 {
        if std::fs::remove_dir_all(profile).is_ok() || !profile.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that may be called differently from system to system.
struct Program {
    variable: &'static str,
    names: &'static [&'static str],
    advice: &'static str,
}

impl Program {
    fn find(&self) -> PathBuf {
        if let Some(named) = std::env::var_os(self.variable) {
            return PathBuf::from(named);
        }
        let folders = std::env::var_os("PATH").unwrap_or_default();
        self.find_in(&folders).unwrap_or_else(|| {
            panic!(
                "{} was not found, which the browser tests need: {}, or name it in {}; `make test` installs it on Debian and Ubuntu",
                self.names[0], self.advice, self.variable
            )
        })
    }

    fn find_in(&self, folders: &std::ffi::OsStr) -> Option<PathBuf> {
        self.names.iter().find_map(|name| {
            // Joining an absolute name replaces the folder.
            std::env::split_paths(folders)
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
        })
    }
}

/// An empty folder inside `target`: a Chromium from a snap sees a /tmp of its own.
fn new_profile() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "browser-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&profile).expect("the browser's profile can be made");
    profile
}

/// Starts the driver on a port of its own choice, which it prints.
async fn start_driver(program: &Path) -> (Child, u16) {
    let mut driver = tokio::process::Command::new(program)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let output = driver.stdout.take().expect("the output is piped");
    let mut lines = BufReader::new(output).lines();
    let port = tokio::time::timeout(START_TIMEOUT, async {
        while let Some(line) = lines
            .next_line()
            .await
            .expect("the driver's output is text")
        {
            if let Some(port) = port_in(&line) {
                return Some(port);
            }
        }
        None
    })
    .await
    .expect("the driver comes up in time")
    .expect("the driver prints its port before it ends");
    // Read on, or a talkative driver would stop at a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (driver, port)
}

/// The port in "ChromeDriver was started successfully on port 41327."
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("successfully on port ")?;
    rest.trim_end_matches('.').trim().parse().ok()
}

/// Everything that keeps the browser from talking to anybody but the page under test.
fn capabilities(browser: &Path, profile: &Path) -> fantoccini::wd::Capabilities {
    let options = json!({
        "binary": browser,
        "args": [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            format!("--user-data-dir={}", profile.display()),
        ],
    });
    [("goog:chromeOptions".to_owned(), options)]
        .into_iter()
        .collect()
}

/// A command of Chromium's own protocol, for what WebDriver has no word for.
#[derive(Debug)]
struct DevToolsCommand {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevToolsCommand {
    fn endpoint(&self, base: &Url, session_id: Option<&str>) -> Result<Url, url::ParseError> {
        let session = session_id.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

const PAGE: &str = "<!doctype html><title>A page</title>\
    <style>body { color: rgb(1, 1, 1) } @media (prefers-color-scheme: dark) { body { color: rgb(2, 2, 2) } }</style>\
    <p>It can be read.";

/// Serves [`PAGE`] on a free port of the loopback address and returns its address.
async fn serve_page() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let router = axum::Router::new().route(
        "/",
        axum::routing::get(|| async { axum::response::Html(PAGE) }),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

async fn text_colour(browser: &Browser) -> Value {
    browser
        .client()
        .execute("return getComputedStyle(document.body).color", vec![])
        .await
        .expect("the script runs")
}

#[tokio::test]
async fn browser_opens_a_page_in_light_and_dark_and_takes_its_picture() {
    let address = serve_page().await;
    let browser = Browser::start().await;
    browser.prefer(ColourScheme::Light).await;
    browser.client().goto(&address).await.expect("a page");
    assert_eq!(browser.client().title().await.expect("a title"), "A page");
    assert_eq!(text_colour(&browser).await, "rgb(1, 1, 1)");

    browser.prefer(ColourScheme::Dark).await;
    assert_eq!(text_colour(&browser).await, "rgb(2, 2, 2)");

    let picture = std::fs::read(browser.screenshot("browser-works").await).expect("a picture");
    assert!(picture.starts_with(b"\x89PNG"), "a PNG was written");
    browser.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn browser_that_is_dropped_leaves_no_process_behind() {
    let browser = Browser::start().await;
    let pid = browser
        .browser_pid
        .expect("the driver tells the browser's id");
    let profile = browser.profile.clone();
    drop(browser);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let gone = tokio::time::timeout(START_TIMEOUT, async {
        while is_running(pid) {
            tick.tick().await;
        }
    });
    gone.await.expect("the browser ends with the value");
    assert!(!profile.exists(), "the profile stayed behind");
}

/// Whether a process is there and more than a corpse that nobody has collected yet.
#[cfg(target_os = "linux")]
fn is_running(pid: u64) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}

#[test]
#[should_panic(
    expected = "no-such-driver was not found, which the browser tests need: apt-get install it"
)]
fn missing_browser_fails_and_names_the_package() {
    let absent = Program {
        variable: "BELLWETHER_NO_SUCH_VARIABLE",
        names: &["no-such-driver"],
        advice: "apt-get install it",
    };
    absent.find();
}

#[test]
fn port_is_read_from_what_the_driver_prints() {
    let line = "ChromeDriver was started successfully on port 41327.";
    assert_eq!(port_in(line), Some(41_327));
    assert_eq!(port_in("Starting ChromeDriver 156 on port 0"), None);
}
