//! A start with much to do, on real time and two threads for everything: the API server, the controller, the probes.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Node;
use stowage_runtime::{
    Action, Cache, Cleanup, Controller, Error, Failure, Jitter, Key, Parts, Queue, Runtime, Spawn,
    SystemClock, TokioTasks, Tuning, Whole, WriteLimit,
};
use stowage_testkit::{ApiServer, node};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const OBJECTS: usize = 10_000;
/// What the kubelet waits for an answer, at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked before it counts as stuck.
const ROUNDS: u32 = 3000;
/// What the chart gives the container.
const MEMORY: f64 = 256.0 * 1024.0 * 1024.0;

/// Keeps nothing of a node but a finalizer.
struct Keeper {
    nodes: Arc<Cache<Whole<Node>>>,
}

impl Controller for Keeper {
    type Object = Node;

    const NAME: &'static str = "nodes";
    const FINALIZER: &'static str = "keeper.example/keep";

    async fn reconcile(self: Arc<Self>, node: Arc<Node>) -> Result<Action, Error> {
        // What a decision costs: a look at everything.
        assert!(self.nodes.all().len() == OBJECTS && node.metadata.finalizers.is_some());
        Ok(Action::AwaitChange)
    }

    async fn cleanup(self: Arc<Self>, _: Arc<Node>) -> Result<Cleanup, Error> {
        Ok(Cleanup::Done)
    }

    async fn vanished(self: Arc<Self>, _: Key) -> Result<(), Error> {
        Ok(())
    }

    async fn report_failure(self: Arc<Self>, _: Arc<Node>, _: Failure) -> Result<(), Error> {
        Ok(())
    }
}

async fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: stowage\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The value of a series; none of those asked for is ever below zero.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(-1.0)
}

// Rule runtime-29.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_at_once_and_memory_stays_small_while_ten_thousand_objects_wait() {
    let server = ApiServer::default().with::<Node>();
    for number in 0..OBJECTS {
        server.create::<Node>(node(&format!("node-{number}"), &[("row", "a")]));
    }
    let stop = CancellationToken::new();
    let parts = Parts {
        transport: server.transport(),
        clock: Arc::new(SystemClock),
        jitter: Jitter::seeded(4),
        spawn: Arc::new(TokioTasks),
        instance: "keeper-0".to_owned(),
        stop: stop.clone(),
    };
    let runtime = Runtime::new(parts).unwrap();
    // As fast as it can: the worst for all else on the thread.
    runtime.tune(Tuning { writes: WriteLimit::Disabled, ..Tuning::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = runtime.health().serve(listener);
    TokioTasks.spawn(serving.map(drop).boxed());
    let nodes: Arc<Cache<Whole<Node>>> = runtime.cache();
    let keeper = Arc::new(Keeper { nodes: Arc::clone(&nodes) });
    runtime.follow(&nodes);
    runtime.run(keeper, &nodes, &Arc::new(Queue::default()), vec![nodes.synced()]);

    let (mut asked_while_many_wait, mut most_memory, mut done) = (0, 0.0_f64, 0.0);
    for _ in 0..ROUNDS {
        for path in ["/healthz", "/readyz"] {
            let answer = timeout(PATIENCE, get(address, path)).await.expect("the kubelet gives up").unwrap();
            assert!(path == "/readyz" || answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let metrics = timeout(PATIENCE, get(address, "/metrics")).await.expect("Prometheus waits").unwrap();
        most_memory = most_memory.max(value(&metrics, "process_resident_memory_bytes"));
        done = value(&metrics, r#"controller_runtime_reconcile_total{controller="nodes",result="success"}"#);
        if done < 1000.0 && value(&metrics, r#"workqueue_depth{name="nodes"}"#) > 9000.0 {
            asked_while_many_wait += 1;
        }
        if done > 1000.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    runtime.ended().await;
    assert!(done > 1000.0, "only {done} are done after {ROUNDS} rounds");
    assert!(asked_while_many_wait > 3, "asked {asked_while_many_wait} times");
    // Of it, most is the API server with all its history.
    assert!((1e7..MEMORY).contains(&most_memory), "{most_memory} bytes");
}
