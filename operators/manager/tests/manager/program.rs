//! The program, and what it is started with.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// The program, ended with the test.
pub(crate) struct Stowage(pub(crate) Child);

impl Drop for Stowage {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Stowage {
    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::TERM)?)
    }
}

/// An address at which nobody listens.
pub(crate) fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder with a kubeconfig for a cluster that is down.
pub(crate) fn no_cluster() -> Result<TempDir> {
    cluster_at(free()?)
}

/// A folder with a kubeconfig for the API server at this address.
pub(crate) fn cluster_at(server: SocketAddr) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "quay",
            "clusters": [{{"name": "quay", "cluster": {{"server": "http://{server}"}}}}],
            "users": [{{"name": "quay", "user": {{"token": "none"}}}}],
            "contexts": [{{"name": "quay", "context": {{"cluster": "quay", "user": "quay"}}}}]}}"#
    );
    std::fs::write(folder.path().join("config"), config)?;
    Ok(folder)
}

/// A file with these settings.
pub(crate) fn configuration(folder: &TempDir, settings: &str) -> Result<PathBuf> {
    let file = folder.path().join("configuration.yaml");
    let head = "apiVersion: config.stowage.dev/v1alpha1\nkind: OperatorConfiguration\n";
    std::fs::write(&file, format!("{head}{settings}\n"))?;
    Ok(file)
}

/// What an API server answers that is asked for its version, 1.`minor`.
pub(crate) fn version(minor: &str) -> String {
    let fields =
        ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
    let fields = fields.map(|field| format!("\"{field}\": \"\"")).join(", ");
    format!("{{\"major\": \"1\", \"minor\": \"{minor}\", {fields}}}")
}

/// The program with the cluster of this folder.
pub(crate) fn stowage(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowage"));
    command.env("KUBECONFIG", folder.path().join("config")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let mut child = Stowage(command.spawn()?);
    let (stdout, stderr) =
        child.0.stdout.take().zip(child.0.stderr.take()).ok_or("its output is not read")?;
    // Beside the wait: a full pipe would hold it up.
    let (stdout, stderr) = (read(stdout), read(stderr));
    let status = until(|| child.0.try_wait().ok().flatten())?;
    let text = |reader: Reader| reader.join().map_err(|_panic| "a reader panicked");
    Ok(Output { status, stdout: text(stdout)??, stderr: text(stderr)?? })
}

type Reader = thread::JoinHandle<std::io::Result<Vec<u8>>>;

fn read(mut pipe: impl Read + Send + 'static) -> Reader {
    thread::spawn(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).map(|_length| all)
    })
}

/// The whole answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: stowage\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[expect(clippy::disallowed_methods, reason = "another process does not run on a paused clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits for what `attempt` looks for.
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    let began = now();
    while began.elapsed() < LIMIT {
        if let Some(done) = attempt() {
            return Ok(done);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("it took too long".into())
}
