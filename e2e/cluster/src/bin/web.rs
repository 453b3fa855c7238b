//! A small application for tests: a server that says where it runs, and a client that asks.
//!
//! `web` serves on port 8080 and answers `NODE POD`, from its environment. `web get URL COUNT` asks COUNT times, each
//! time on a new connection, and prints an answer a line; a failed request is a line that starts with `ERROR`.

use std::{env, io::Write, time::Duration};

use axum::{Router, routing::get};
use tokio::signal::unix::{SignalKind, signal};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => serve(),
        ["get", url] => ask(url, 1),
        ["get", url, count] => ask(url, count.parse()?),
        _ => Err("usage: web, or web get URL [COUNT]".into()),
    }
}

#[tokio::main]
async fn serve() -> Outcome {
    let name = |variable| env::var(variable).unwrap_or_else(|_| "unknown".to_owned());
    let answer = format!("{} {}\n", name("NODE"), name("POD"));
    let router = Router::new().route("/", get(|| async move { answer }));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        terminated.recv().await;
    };
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop).await?)
}

fn ask(url: &str, count: u32) -> Outcome {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).max_idle_connections(0).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut output = std::io::stdout().lock();
    for _ in 0..count {
        match agent.get(url).call().and_then(|mut answer| answer.body_mut().read_to_string()) {
            Ok(answer) => write!(output, "{answer}")?,
            Err(error) => writeln!(output, "ERROR {error}")?,
        }
    }
    Ok(())
}
