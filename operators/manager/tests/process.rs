//! The program itself, beside an API server that is not there.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// The program, ended with the test.
struct Stowage(Child);

impl Drop for Stowage {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An address at which nobody listens.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder with a kubeconfig for a cluster that is down.
fn no_cluster() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "down",
            "clusters": [{{"name": "down", "cluster": {{"server": "http://{}"}}}}],
            "users": [{{"name": "down", "user": {{"token": "none"}}}}],
            "contexts": [{{"name": "down", "context": {{"cluster": "down", "user": "down"}}}}]}}"#,
        free()?
    );
    std::fs::write(folder.path().join("config"), config)?;
    Ok(folder)
}

fn stowage(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowage"));
    command.env("KUBECONFIG", folder.path().join("config")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The whole answer to a GET.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: stowage\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The code with which a path is answered.
fn ask(address: SocketAddr, path: &str) -> Result<String> {
    Ok(get(address, path)?.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[expect(clippy::disallowed_methods, reason = "another process does not run on a paused clock")]
fn now() -> Instant {
    Instant::now()
}

fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> Result<T> {
    let began = now();
    while began.elapsed() < LIMIT {
        if let Some(done) = attempt() {
            return Ok(done);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("it took too long".into())
}

fn run(command: &mut Command) -> Result<Output> {
    Ok(command.output()?)
}

// Rule manager-1.
#[test]
fn without_an_api_server_it_lives_unready_says_why_and_stops_when_asked() {
    let (folder, listen) = (no_cluster().unwrap(), free().unwrap());
    let mut child = Stowage(stowage(&folder).args(["run", "--listen", &listen.to_string()]).spawn().unwrap());
    assert_eq!(until(|| ask(listen, "/healthz").ok()).unwrap(), "200");
    assert_eq!(ask(listen, "/readyz").unwrap(), "503");
    assert_eq!(ask(listen, "/metrics").unwrap(), "200");
    let tried = "stowage_watch_errors_total{kind=\"NodePool\"} 3";
    until(|| get(listen, "/metrics").ok().filter(|metrics| metrics.contains(tried))).unwrap();
    assert!(child.0.try_wait().unwrap().is_none(), "it does not give up");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::TERM)
        .unwrap();
    assert!(until(|| child.0.try_wait().unwrap()).unwrap().success());
    let mut log = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("cannot watch nodepools.stowage.dev: the API server gave no answer"), "{log}");
    assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
}

// Rule manager-2.
#[test]
fn a_release_without_an_api_server_ends_in_time_and_fails() {
    let folder = no_cluster().unwrap();
    let began = now();
    let output = run(stowage(&folder).args(["release", "--timeout", "2"])).unwrap();
    assert!(!output.status.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("cannot list nodes: the API server gave no answer"), "{log}");
    assert!(log.contains("trying again does no harm"), "{log}");
}

// Rule manager-3.
#[test]
fn permissions_and_version_need_no_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let rbac = run(stowage(&folder).arg("rbac")).unwrap();
    let text = String::from_utf8(rbac.stdout).unwrap();
    assert!(rbac.status.success() && text.contains("nodepools/status") && !text.contains('*'), "{text}");
    assert_eq!(run(stowage(&folder).arg("rbac")).unwrap().stdout, text.into_bytes());
    let version = run(stowage(&folder).arg("version")).unwrap().stdout;
    assert_eq!(String::from_utf8(version).unwrap(), concat!("stowage ", env!("CARGO_PKG_VERSION"), "\n"));
}

// Rule manager-4.
#[test]
fn an_address_in_use_is_an_error_that_names_the_trouble() {
    let (folder, taken) = (no_cluster().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let listen = taken.local_addr().unwrap().to_string();
    let output = run(stowage(&folder).args(["run", "--listen", &listen])).unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(log.contains(&format!("cannot listen on {listen}")), "{log}");
}
