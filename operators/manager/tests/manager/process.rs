//! The program itself, beside an API server that is not there.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use crate::program::{
    Result, Stowage, cluster_at, configuration, free, get, no_cluster, now, run, stowage, until, version,
};

/// The code with which a path is answered.
fn ask(address: SocketAddr, path: &str) -> Result<String> {
    Ok(get(address, path)?.split(' ').nth(1).unwrap_or_default().to_owned())
}

// Rule manager-1.
#[test]
fn without_an_api_server_it_lives_unready_says_why_and_stops_when_asked() {
    let (folder, listen) = (no_cluster().unwrap(), free().unwrap());
    let mut child = Stowage(stowage(&folder).args(["run", "--listen", &listen.to_string()]).spawn().unwrap());
    assert_eq!(until(|| ask(listen, "/healthz").ok()).unwrap(), "200");
    assert_eq!(ask(listen, "/readyz").unwrap(), "503");
    assert_eq!(ask(listen, "/metrics").unwrap(), "200");
    let tried = "rest_client_requests_total{code=\"0\",method=\"GET\"} 3";
    until(|| get(listen, "/metrics").ok().filter(|metrics| metrics.contains(tried))).unwrap();
    assert!(child.0.try_wait().unwrap().is_none(), "it does not give up");
    child.terminate().unwrap();
    assert!(until(|| child.0.try_wait().unwrap()).unwrap().success());
    let mut log = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("cannot get /version: the API server gave no answer"), "{log}");
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
    // Without the Lease it releases nothing: a manager may still work.
    assert!(log.contains("cannot get Lease default/stowage: the API server gave no answer"), "{log}");
    assert!(!log.contains("cannot list nodes"), "{log}");
    assert!(log.contains("trying again does no harm"), "{log}");
}

// Rule manager-2.
#[test]
fn a_release_that_is_asked_to_stop_ends_in_order() {
    let folder = no_cluster().unwrap();
    let mut child = Stowage(stowage(&folder).args(["release", "--timeout", "600"]).spawn().unwrap());
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(std::io::Result::ok);
    // It waits for the Lease.
    assert!(log.any(|line| line.contains("cannot get Lease")));
    child.terminate().unwrap();
    let status = until(|| child.0.try_wait().unwrap()).unwrap();
    assert_eq!(status.code(), Some(1), "not killed by the signal");
    assert!(log.any(|line| line.contains("asked to stop before all was released")));
}

// Rule manager-1.
#[test]
fn by_default_it_serves_both_families_or_the_one_that_there_is() {
    let (folder, port) = (no_cluster().unwrap(), free().unwrap().port());
    let listen = format!("[::]:{port}");
    let _child = Stowage(stowage(&folder).args(["run", "--listen", &listen]).spawn().unwrap());
    assert_eq!(until(|| ask(([127, 0, 0, 1], port).into(), "/healthz").ok()).unwrap(), "200");
    let help = String::from_utf8(run(stowage(&folder).args(["run", "--help"])).unwrap().stdout).unwrap();
    assert!(help.contains("[default: [::]:8080]"), "{help}");
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

// Rule manager-6.
#[test]
fn a_configuration_is_checked_without_a_cluster_and_one_that_is_wrong_starts_nothing() {
    let folder = no_cluster().unwrap();
    let good = configuration(&folder, "concurrency: 7").unwrap();
    let checked = run(stowage(&folder).args(["config", "check"]).arg(&good)).unwrap();
    let printed = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && printed.contains("concurrency: 7"), "{printed}");
    assert!(printed.contains("resyncPeriod: 600s"), "with the defaults: {printed}");
    let bad = configuration(&folder, "writes: {perSecond: 0}").unwrap();
    let cure = "configuration.yaml is invalid: writes.perSecond: 0 is out of bounds: give 1 to 10000";
    let checked = run(stowage(&folder).args(["config", "check"]).arg(&bad)).unwrap();
    assert!(!checked.status.success());
    assert!(String::from_utf8(checked.stderr).unwrap().contains(cure));
    let started = run(stowage(&folder).args(["run", "--config"]).arg(&bad)).unwrap();
    assert!(!started.status.success());
    let log = String::from_utf8(started.stderr).unwrap();
    assert!(log.contains(cure) && log.starts_with('{'), "{log}");
}

// Rule manager-6.
#[test]
fn the_schema_names_every_field_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let schema = run(stowage(&folder).args(["config", "schema"])).unwrap().stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["apiVersion", "kind"]));
    assert_eq!(schema["additionalProperties"], false);
    for (field, property) in schema["properties"].as_object().unwrap() {
        assert!(
            property["description"].is_string() || property["$ref"].is_string(),
            "{field} is not explained"
        );
    }
    assert_eq!(schema["properties"]["concurrency"]["default"], 10);
    assert_eq!(schema["properties"]["nodePool"]["default"]["localDNSAddress"], "169.254.20.10");
}

// Rule manager-7.
#[test]
fn a_changed_file_is_in_force_within_seconds_and_a_bad_one_changes_nothing() {
    let (folder, listen) = (no_cluster().unwrap(), free().unwrap());
    let file = configuration(&folder, "logging: {level: error}").unwrap();
    let mut child = Stowage(
        stowage(&folder)
            .args(["run", "--listen", &listen.to_string(), "--config"])
            .arg(&file)
            .spawn()
            .unwrap(),
    );
    let count = |line: &'static str| {
        until(|| get(listen, "/metrics").ok().filter(|metrics| metrics.contains(line))).unwrap()
    };
    count("stowage_config_reloads_total{result=\"success\"} 0");
    configuration(&folder, "concurrency: many").unwrap();
    count("stowage_config_reloads_total{result=\"failure\"} 1");
    configuration(&folder, "logging: {level: warn, format: Text}").unwrap();
    let metrics = count("stowage_config_reloads_total{result=\"success\"} 1");
    assert!(metrics.contains("stowage_config_reloads_total{result=\"failure\"} 1"), "said once: {metrics}");
    std::fs::remove_file(&file).unwrap();
    let metrics = count("stowage_config_reloads_total{result=\"failure\"} 2");
    assert!(metrics.contains("stowage_config_last_reload_successful 0"), "{metrics}");
    child.terminate().unwrap();
    assert!(until(|| child.0.try_wait().unwrap()).unwrap().success());
    let mut log = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let (quiet, told) = log.split_once("these settings take effect at the next start").unwrap();
    assert!(quiet.contains("concurrency: ") && quiet.contains("stays in force"), "{quiet}");
    assert!(!quiet.contains("/version"), "a warning, and only errors were asked for: {quiet}");
    assert!(told.contains("logging.format"), "{told}");
}

// Rule manager-8.
#[test]
fn a_cluster_that_is_too_old_is_named_and_nothing_is_started() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = cluster_at(server.local_addr().unwrap()).unwrap();
    let answering = thread::spawn(move || -> std::io::Result<String> {
        let (mut stream, _) = server.accept()?;
        let mut request = [0; 1024];
        let read = stream.read(&mut request)?;
        let body = version("32+");
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        Ok(String::from_utf8_lossy(request.get(..read).unwrap_or_default()).into_owned())
    });
    let output = run(stowage(&folder).args(["run", "--listen", &free().unwrap().to_string()])).unwrap();
    assert!(answering.join().unwrap().unwrap().starts_with("GET /version"));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        log.contains("this is Kubernetes 1.32+, and this version of Stowage needs 1.33 or newer"),
        "{log}"
    );
}
