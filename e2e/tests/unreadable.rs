//! An object that this version cannot read, as a newer version of the kind may leave it: the others go on.

use serde_json::{Value, json};
use stowage_cluster::wait_for;
use stowage_e2e::{LIMIT, Lab, Outcome, RESOURCE, condition, finally, is_settled, pool};

/// Does `work` while the API server takes any spec, and has the true definition again afterwards, however that ended.
fn with_any_spec(lab: &Lab, work: impl FnOnce() -> Outcome) -> Outcome {
    let strict = lab.find("crd", RESOURCE)?.ok_or("the kind is not there")?;
    let mut loose = strict.clone();
    let spec = loose.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    *spec.ok_or("the kind has no spec")? =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    lab.replace(&loose)?;
    finally(work, || {
        lab.replace(&strict)?;
        let probe = tempfile::NamedTempFile::new()?;
        std::fs::write(&probe, garbled("probe").to_string())?;
        let create = ["create", "--dry-run=server", "-f", &probe.path().to_string_lossy()];
        let refused = wait_for("the true definition", LIMIT, || match lab.kubectl.run(&create) {
            Ok(taken) => Err(taken),
            Err(_) => Ok(()),
        });
        Ok(refused?)
    })
}

const UNREADABLE: &str = "stowage_undecodable_objects{kind=\"NodePool\"}";

/// A pool whose nodes are a text instead of a list.
fn garbled(name: &str) -> Value {
    json!({
        "apiVersion": "stowage.dev/v1alpha1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"nodeNames": "all of them", "labels": {"garbled.example/a": "1"}},
    })
}

/// Waits until an event and the log say of the pool what cannot be read.
fn wait_until_told(lab: &Lab, name: &str) -> Outcome {
    let object = lab.find(RESOURCE, name)?.ok_or("there is no such pool")?;
    let found = wait_for(&format!("what is wrong with {name}"), LIMIT, || {
        let events = lab.events("DecodeFailed", &object).map_err(|error| error.to_string())?;
        let log = lab.manager_log().map_err(|error| error.to_string())?;
        let named =
            |line: &&str| line.contains(&format!(r#""name":"{name}""#)) && line.contains("all of them");
        let lines: Vec<_> = log.lines().filter(named).collect();
        let told = events.iter().any(|note| note.contains("all of them")) && !lines.is_empty();
        if told { Ok(()) } else { Err(format!("events {events:?}, log {lines:?}")) }
    });
    Ok(found?)
}

// Rule e2e-10.
#[test]
fn a_pool_that_cannot_be_read_is_named_and_stops_no_other() {
    let lab = Lab::open().unwrap();
    let [one, two, three] = &lab.nodes().unwrap();
    lab.settle(&pool("worn", &[two], &json!({"worn.example/a": "1"}))).unwrap();
    lab.settle(&pool("sound", &[one], &json!({"sound.example/a": "1"}))).unwrap();
    with_any_spec(&lab, || {
        // The definition is served a moment after it has been stored.
        wait_for("any spec to be taken", LIMIT, || {
            lab.apply(&garbled("garbled")).map_err(|error| error.to_string())
        })?;
        lab.apply(&garbled("worn"))?;
        for name in ["garbled", "worn"] {
            wait_until_told(&lab, name)?;
        }
        lab.wait_for_metric(UNREADABLE, "2")?;

        // What could be read once says so, and keeps what it has given.
        let told =
            |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["reason"] == "Undecodable");
        lab.wait_for_pool("worn", "the trouble in the status of", told)?;
        assert_eq!(lab.node(two)?.label("worn.example/a"), Some("1"));

        // The others: drift, a change, and one that is new.
        lab.set_label(one, "sound.example/a", None)?;
        lab.wait_for_label(one, "sound.example/a", Some("1"))?;
        lab.settle(&pool("sound", &[one], &json!({"sound.example/a": "2"})))?;
        lab.settle(&pool("fresh", &[three], &json!({"fresh.example/a": "1"})))?;

        // One goes, the other is mended.
        lab.delete_pool("garbled")?;
        lab.apply(&pool("worn", &[two], &json!({"worn.example/a": "2"})))?;
        lab.wait_for_pool("worn", "a mended pool", is_settled)?;
        lab.wait_for_metric(UNREADABLE, "0")
    })
    .unwrap();
    lab.wait_for_label(two, "worn.example/a", Some("2")).unwrap();
    for name in ["worn", "sound", "fresh"] {
        lab.delete_pool(name).unwrap();
    }
}
