//! What the kubelet and Prometheus ask over HTTP: `/healthz`, `/readyz`, `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Synced, metrics::Metrics, tasks::Tasks};

type Reply = (StatusCode, String);

/// What is known about the state of the process.
#[derive(Clone, Debug)]
pub struct Health {
    tasks: Tasks,
    metrics: Metrics,
    stop: CancellationToken,
    awaited: Arc<Mutex<Vec<(String, Synced)>>>,
}

impl Health {
    pub(crate) fn new(tasks: Tasks, metrics: Metrics, stop: CancellationToken) -> Self {
        Self { tasks, metrics, stop, awaited: Arc::default() }
    }

    /// The process is ready only when this cache is complete, too.
    pub(crate) fn await_cache(&self, name: &str, synced: Synced) {
        self.await_flag(format!("the cache of {name} is not complete"), synced);
    }

    /// The process is ready only when this is so; until then `trouble` stands in the way.
    pub(crate) fn await_flag(&self, trouble: String, synced: Synced) {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).push((trouble, synced));
    }

    /// The tasks that died: only a restart helps.
    pub fn dead(&self) -> Vec<String> {
        self.tasks.dead()
    }

    /// What stands in the way of work.
    pub fn missing(&self) -> Vec<String> {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = awaited.iter().filter(|(_, synced)| !synced.is_synced());
        let mut missing: Vec<String> = absent.map(|(trouble, _)| trouble.clone()).collect();
        if self.stop.is_cancelled() {
            missing.push("stopping".to_owned());
        }
        missing
    }

    /// What Prometheus reads.
    pub fn metrics(&self) -> Result<String, prometheus::Error> {
        self.metrics.text()
    }

    /// Answers on `listener` for as long as it is polled.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async |State(health): State<Self>| reply(&health.dead())))
            .route("/readyz", get(async |State(health): State<Self>| reply(&health.missing())))
            .route("/metrics", get(async |State(health): State<Self>| health.text()))
            .with_state(self)
    }

    fn text(&self) -> Reply {
        match self.metrics() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

fn reply(trouble: &[String]) -> Reply {
    if trouble.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, trouble.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;
    use crate::TokioTasks;

    async fn ask(health: &Health, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).unwrap();
        health.clone().router().oneshot(request).await.unwrap().status()
    }

    // Rule runtime-16.
    #[tokio::test]
    async fn a_dead_task_fails_liveness_and_an_incomplete_cache_readiness() {
        let stop = CancellationToken::new();
        let tasks = Tasks::new(Arc::new(TokioTasks), stop.clone());
        let health = Health::new(tasks.clone(), Metrics::new().unwrap(), stop.clone());
        let (complete, synced) = tokio::sync::watch::channel(false);
        health.await_cache("tides", Synced::new(synced));
        assert_eq!(ask(&health, "/healthz").await, StatusCode::OK);
        assert_eq!(ask(&health, "/metrics").await, StatusCode::OK);
        assert_eq!(ask(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        complete.send_replace(true);
        assert_eq!(ask(&health, "/readyz").await, StatusCode::OK);
        tasks.start("tide".to_owned(), async {});
        while tasks.dead().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&health, "/healthz").await, StatusCode::SERVICE_UNAVAILABLE);
        stop.cancel();
        assert_eq!(ask(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
