//! A proxy in front of Postgres that can do what networks and dying servers do: take connections and never
//! answer, break them, or refuse them. It can do so to some of the service's connections alone, by the name
//! they give when they connect.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What the proxy does at present.
#[derive(Debug, Clone, Default)]
struct State {
    /// Connections whose first message holds this text get no answers any more.
    silent: Option<&'static str>,
    /// Connections made before this number never get one again.
    forgotten: u64,
    /// Connections made before this number are cut.
    cut: u64,
    /// New connections are cut at once.
    refuses: bool,
    /// How many connections were made.
    made: u64,
}

/// The proxy; it ends with the test's runtime.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    database: PgConnectOptions,
}

impl Proxy {
    /// A proxy to the server of these options.
    pub async fn start(database: &PgConnectOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(watch::Sender::new(State::default()));
        let accepting = state.clone();
        let target = Target::of(database);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let mut number = 0;
                accepting.send_modify(|state| {
                    state.made += 1;
                    number = state.made;
                });
                if !accepting.borrow().refuses {
                    tokio::spawn(carry(client, target.clone(), number, accepting.subscribe()));
                }
            }
        });
        Self {
            address,
            state,
            database: database.clone(),
        }
    }

    /// The URL of the test's database, through the proxy.
    pub fn url(&self) -> String {
        format!(
            "postgres://{}@{}/{}?sslmode=disable",
            self.database.get_username(),
            self.address,
            self.database.get_database().expect("tests have one"),
        )
    }

    /// From now on nothing is answered, on old connections and new ones.
    pub fn stall(&self) {
        self.stall_only("");
    }

    /// The same for connections whose name has this text in it.
    pub fn stall_only(&self, name: &'static str) {
        self.state.send_modify(|state| state.silent = Some(name));
    }

    /// Answers again, also what was held back.
    pub fn heal(&self) {
        self.state.send_modify(|state| {
            state.silent = None;
            state.refuses = false;
        });
    }

    /// Answers new connections; the old ones stay open and silent for ever, as after a failover that nobody
    /// was told of.
    pub fn heal_for_new_connections(&self) {
        self.state.send_modify(|state| {
            state.silent = None;
            state.forgotten = state.made;
        });
    }

    /// Cuts all connections; new ones are served.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = state.made);
    }

    /// Cuts all connections, and new ones too until it is healed.
    pub fn refuse(&self) {
        self.state.send_modify(|state| {
            state.cut = state.made;
            state.refuses = true;
        });
    }
}

/// Where the server listens.
#[derive(Debug, Clone)]
enum Target {
    Socket(PathBuf),
    Port(String, u16),
}

impl Target {
    fn of(options: &PgConnectOptions) -> Self {
        let port = options.get_port();
        match options.get_socket() {
            Some(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{port}"))),
            None => Self::Port(options.get_host().to_owned(), port),
        }
    }
}

async fn carry(client: TcpStream, target: Target, number: u64, state: watch::Receiver<State>) {
    // Either side may end at any time; that is what the proxy is for.
    let _ = match target {
        Target::Socket(path) => match UnixStream::connect(path).await {
            Ok(server) => between(client, server.into_split(), number, state).await,
            Err(error) => Err(error),
        },
        Target::Port(host, port) => match TcpStream::connect((host, port)).await {
            Ok(server) => between(client, server.into_split(), number, state).await,
            Err(error) => Err(error),
        },
    };
}

async fn between<R, W>(
    mut client: TcpStream,
    (mut from_server, mut to_server): (R, W),
    number: u64,
    mut state: watch::Receiver<State>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    client.set_nodelay(true)?;
    let mut first = vec![0; 8 << 10];
    let length = client.read(&mut first).await?;
    first.truncate(length);
    let (mut from_client, mut to_client) = client.into_split();
    let mut cut = state.clone();
    let carrying = async {
        let speaks = speaking(&String::from_utf8_lossy(&first), number);
        let _ = state.wait_for(&speaks).await;
        to_server.write_all(&first).await?;
        let mut state_back = state.clone();
        tokio::try_join!(
            forward(&mut from_client, &mut to_server, &mut state, &speaks),
            forward(&mut from_server, &mut to_client, &mut state_back, &speaks),
        )
        .map(|_| ())
    };
    tokio::select! {
        carried = carrying => carried,
        _ = cut.wait_for(|state| state.cut >= number) => Ok(()),
    }
}

/// Whether a connection is served at present.
fn speaking(first: &str, number: u64) -> impl Fn(&State) -> bool + use<> {
    let first = first.to_owned();
    move |state| {
        let silent = state.silent.is_some_and(|name| first.contains(name));
        !silent && number > state.forgotten
    }
}

async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    state: &mut watch::Receiver<State>,
    speaks: &impl Fn(&State) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        // Bytes that are on their way when the network falls silent do not arrive either.
        let _ = state.wait_for(speaks).await;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
