//! What changes while the product runs: its chart's values, and its configuration file.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::json;
use stowage_e2e::{Lab, MANAGERS, NAMESPACE, Outcome, RELEASE, finally};

/// Whether the last change of the configuration file was adopted.
const RELOADED: &str = "stowage_config_last_reload_successful";

/// Changes the manager's configuration file.
fn configure(lab: &Lab, file: &str, moment: &str) -> Outcome {
    let patch = json!({"data": {"config.yaml": file}}).to_string();
    let place = ["--namespace", NAMESPACE];
    lab.kubectl.run(&[place.as_slice(), &["patch", "configmap", RELEASE, "--patch", &patch]].concat())?;
    // A kubelet looks after the volumes of a pod about once in a minute, and whenever the pod changes.
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let change = format!("stowage.test/moment={moment}");
    let annotate = ["annotate", "pod", "--selector", &selector, "--overwrite", &change];
    lab.kubectl.run(&[place.as_slice(), &annotate].concat())?;
    Ok(())
}

// Rule e2e-15.
#[test]
fn a_configuration_that_changes_is_adopted_and_a_bad_one_is_refused_and_told() {
    let lab = Lab::open().unwrap();
    let path = "jsonpath={.data.config\\.yaml}";
    let of_chart =
        lab.kubectl.run(&["--namespace", NAMESPACE, "get", "configmap", RELEASE, "-o", path]).unwrap();
    let before = lab.manager_pods().unwrap();
    let changed = || {
        assert!(of_chart.contains("level: info"), "{of_chart}");
        let talkative = of_chart.replace("level: info", "level: debug");
        configure(&lab, &talkative, "talkative")?;
        lab.wait_for_log(&[r#""level":"INFO""#, "configuration reloaded"])?;
        // Each renewal of the Lease is a request, and so a line.
        lab.wait_for_log(&[r#""level":"DEBUG""#])?;
        lab.wait_for_metric(RELOADED, "1")?;

        configure(&lab, &talkative.replace("concurrency: 10", "concurrency: 0"), "bad")?;
        lab.wait_for_log(&[r#""level":"ERROR""#, "configuration not reloaded", "concurrency"])?;
        lab.wait_for_metric(RELOADED, "0")
    };
    finally(changed, || {
        configure(&lab, &of_chart, "as-before")?;
        lab.wait_for_metric(RELOADED, "1")
    })
    .unwrap();
    let uids = |pods: &[serde_json::Value]| -> Vec<_> {
        pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect()
    };
    assert_eq!(uids(&lab.manager_pods().unwrap()), uids(&before), "no pod is replaced for it");
}

/// With the audit log of the project's own cluster as the witness.
mod audited {
    use std::collections::BTreeMap;

    use serde_json::Value;
    use stowage_e2e::{SERVICE_ACCOUNT, is_settled, plain_node, pool_selecting};

    use super::*;

    const SELECTED: &str = "rigging.example/mast";
    const SET: &str = "rigging.example/sail";
    const MASTS: [&str; 2] = ["fore", "main"];
    const MOST_MOVES: usize = 400;

    fn mast(name: &str) -> Value {
        pool_selecting(name, (SELECTED, name), &json!({"labels": {SET: name}}))
    }

    /// Makes ten nodes of a pool; returns where each of them is.
    fn make(lab: &Lab, kind: &str, mast: &'static str) -> Outcome<BTreeMap<String, &'static str>> {
        let names = (0..10).map(|number| format!("{kind}-{number}"));
        let nodes: BTreeMap<_, _> = names.map(|name| (name, mast)).collect();
        for name in nodes.keys() {
            lab.kubectl.send("create", &plain_node(name, &json!({SELECTED: mast})))?;
        }
        Ok(nodes)
    }

    fn wait_until_placed(lab: &Lab, nodes: &BTreeMap<String, &'static str>) -> Outcome {
        for (name, mast) in nodes {
            lab.wait_for_label(name, SET, Some(mast))?;
        }
        for mast in MASTS {
            lab.wait_for_pool(mast, "a settled pool", is_settled)?;
        }
        Ok(())
    }

    /// Moves one node after the other between the pools until `stop`; returns how often.
    fn sway(
        lab: &Lab,
        nodes: &mut BTreeMap<String, &'static str>,
        stop: &AtomicBool,
    ) -> Result<usize, String> {
        let names: Vec<_> = nodes.keys().cloned().collect();
        for (count, name) in names.iter().cycle().take(MOST_MOVES).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(count);
            }
            let place = nodes.entry(name.clone()).or_default();
            *place = if *place == "fore" { "main" } else { "fore" };
            lab.set_label(name, SELECTED, Some(place)).map_err(|error| error.to_string())?;
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("the upgrade lasts longer than {MOST_MOVES} moves"))
    }

    /// Upgrades the chart so that every pod is replaced, and waits until that is done.
    fn upgrade(lab: &Lab) -> Outcome {
        let chart = Lab::chart(RELEASE);
        let place = [RELEASE, chart.to_str().ok_or("a path that is no text")?, "--namespace", NAMESPACE];
        let change = ["--set-string", "podAnnotations.stowage\\.test/upgrade=yes"];
        let how = ["--reuse-values", "--wait"];
        lab.helm.run(&[["upgrade"].as_slice(), &place, &change, &how].concat())?;
        Ok(())
    }

    // Rule e2e-16.
    #[test]
    fn an_upgrade_under_load_writes_no_node_that_needs_no_change() {
        let lab = Lab::open().unwrap();
        let still = make(&lab, "stay", "main").unwrap();
        let mut moved = make(&lab, "boom", "fore").unwrap();
        for name in MASTS {
            lab.settle(&mast(name)).unwrap();
        }
        wait_until_placed(&lab, &still).unwrap();
        wait_until_placed(&lab, &moved).unwrap();

        let (audit, before, stop) = (lab.audit().unwrap(), lab.term().unwrap(), AtomicBool::new(false));
        let (upgraded, swayed) = thread::scope(|scope| {
            let load = scope.spawn(|| sway(&lab, &mut moved, &stop));
            let upgraded = upgrade(&lab).map_err(|error| error.to_string());
            stop.store(true, Ordering::Relaxed);
            (upgraded, load.join().unwrap())
        });
        upgraded.unwrap();
        let count = swayed.unwrap();
        lab.scale_manager(MANAGERS).unwrap();
        assert_ne!(lab.term().unwrap().holder, before.holder, "no manager was replaced");
        assert!(count > moved.len(), "only {count} moves in all the time");
        wait_until_placed(&lab, &moved).unwrap();

        let writes = audit.writes_of(SERVICE_ACCOUNT).unwrap();
        let of = |nodes: &BTreeMap<String, _>| -> Vec<_> {
            writes.iter().filter(|write| nodes.contains_key(&write.name)).collect()
        };
        assert!(of(&still).is_empty(), "{:?}", of(&still));
        // Two moves of a node may be one write, or none: what counts is where it ends.
        let written = of(&moved).len();
        assert!((1..=count).contains(&written), "{written} writes for {count} moves");

        for name in MASTS {
            lab.delete_pool(name).unwrap();
        }
        for name in still.keys().chain(moved.keys()) {
            lab.delete("node", name).unwrap();
        }
    }
}
