//! How a pool with nodes is deleted: refused, released or drained.

use serde_json::{Value, json};
use stowage_e2e::{Lab, RESOURCE, pool_with};

fn with_policy(name: &str, nodes: &[&str], policy: &str) -> Value {
    let labels = json!({"quay.example/number": "7"});
    pool_with(name, nodes, &json!({"labels": labels, "deletionPolicy": policy, "drainTimeout": "5m"}))
}

#[test]
fn a_pool_with_nodes_is_refused_at_the_door_and_the_answer_says_how_to_go_on() {
    let lab = Lab::open().unwrap();
    let [one, two, _] = &lab.nodes().unwrap();
    lab.settle(&with_policy("refused", &[one, two], "Refuse")).unwrap();
    let error = lab.kubectl.run(&["delete", RESOURCE, "refused", "--wait=false"]).unwrap_err().to_string();
    assert!(error.contains("2 nodes") && error.contains("deletionPolicy"), "{error}");
    assert_eq!(lab.find(RESOURCE, "refused").unwrap().unwrap()["metadata"].get("deletionTimestamp"), None);
    lab.delete_pool("refused").unwrap();
    assert_eq!(lab.node(one).unwrap().label("quay.example/number"), None);
}

/// With a policy of ours that is taken away, and nodes that are emptied.
mod audited {
    use stowage_cluster::wait_for;
    use stowage_e2e::{LIMIT, condition, finally};

    use super::*;

    const BINDING: &str = "validatingadmissionpolicybinding";

    #[test]
    fn without_the_policy_the_finalizer_refuses_until_the_pool_says_otherwise() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        lab.settle(&with_policy("held", &[node], "Refuse")).unwrap();
        let mut binding = lab.find(BINDING, "stowage-pool-deletion").unwrap().unwrap();
        lab.delete(BINDING, "stowage-pool-deletion").unwrap();
        let held = || {
            wait_for("an open door", LIMIT, || {
                let delete = ["delete", RESOURCE, "held", "--wait=false", "--dry-run=server"];
                lab.kubectl.run(&delete).map_err(|error| error.to_string())
            })?;
            lab.kubectl.run(&["delete", RESOURCE, "held", "--wait=false"])?;
            let refused = |object: &Value| {
                condition(object, "Ready").is_some_and(|ready| ready["reason"] == "DeletionRefused")
            };
            let told = lab.wait_for_pool("held", "a refusal in", refused)?;
            assert!(condition(&told, "Stalled").is_some());
            // It goes on keeping its nodes.
            lab.set_label(node, "quay.example/number", Some("8"))?;
            lab.wait_for_label(node, "quay.example/number", Some("7"))?;
            lab.delete_pool("held")?;
            assert_eq!(lab.node(node)?.label("quay.example/number"), None);
            Ok(())
        };
        finally(held, || {
            for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                binding["metadata"].as_object_mut().unwrap().remove(field);
            }
            Ok(lab.kubectl.send("create", &binding).map(drop)?)
        })
        .unwrap();
    }

    /// Two pods of one Deployment on the node, under a budget that lets none go, and one that nobody would make again.
    fn crew(namespace: &str, node: &str) -> Value {
        let labels = json!({"app": "crew"});
        let pod = |name: &str| {
            json!({
                "terminationGracePeriodSeconds": 1,
                "nodeSelector": {"kubernetes.io/hostname": node},
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": name, "image": stowage_cluster::PAUSE_IMAGE, "imagePullPolicy": "Never",
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            })
        };
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": restricted}},
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": "crew", "namespace": namespace},
                "spec": {"maxUnavailable": 0, "selector": {"matchLabels": labels}}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "crew", "namespace": namespace}, "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod("crew")},
            }},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stowaway", "namespace": namespace},
                "spec": pod("stowaway")},
        ]})
    }

    /// The names of the pods that run on the node.
    fn aboard(lab: &Lab, namespace: &str) -> Result<Vec<String>, String> {
        let path = r#"jsonpath={range .items[?(@.status.phase=="Running")]}{.metadata.name}{"\n"}{end}"#;
        let names = lab.kubectl.run(&["get", "pods", "--namespace", namespace, "-o", path]);
        let mut names: Vec<_> =
            names.map_err(|error| error.to_string())?.lines().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn a_drain_waits_for_a_budget_says_so_and_goes_on() {
        let lab = Lab::open().unwrap();
        let [_, node, _] = &lab.nodes().unwrap();
        lab.settle(&with_policy("drained", &[node], "Drain")).unwrap();
        lab.kubectl.send("create", &crew("drain", node)).unwrap();
        wait_for("a crew aboard", LIMIT, || {
            let names = aboard(&lab, "drain")?;
            if names.len() == 3 { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .unwrap();
        lab.kubectl.run(&["delete", RESOURCE, "drained", "--wait=false"]).unwrap();
        let blocked = |object: &Value| {
            condition(object, "Draining")
                .is_some_and(|draining| draining["message"].to_string().contains("PodDisruptionBudget"))
        };
        let told = lab.wait_for_pool("drained", "a blocked drain in", blocked).unwrap();
        assert_eq!(told["status"]["nodes"]["draining"], 1);
        let cordoned = lab.find("node", node).unwrap().unwrap();
        assert_eq!(cordoned["spec"]["unschedulable"], true);
        // The pod without an owner is named before it goes; the others stay as long as the budget says so.
        wait_for("a stowaway overboard", LIMIT, || {
            let names = aboard(&lab, "drain")?;
            if names.iter().any(|name| name == "stowaway") { Err(format!("{names:?}")) } else { Ok(()) }
        })
        .unwrap();
        let events = lab
            .kubectl
            .run(&["get", "events.events.k8s.io", "--namespace", "default", "-o", "json"])
            .unwrap();
        assert!(events.contains("drain/stowaway"), "no event names the bare pod: {events}");
        assert_eq!(aboard(&lab, "drain").unwrap().len(), 2);

        let open = json!({"spec": {"maxUnavailable": 1}}).to_string();
        lab.kubectl
            .run(&["--namespace", "drain", "patch", "pdb", "crew", "--type", "merge", "-p", &open])
            .unwrap();
        // The Deployment makes them again at once, for the same node, where they wait: it stays cordoned to the end.
        lab.kubectl.run(&["--namespace", "drain", "scale", "deployment/crew", "--replicas=0"]).unwrap();
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        lab.kubectl.run(&["wait", "--for=delete", &format!("{RESOURCE}/drained"), &limit]).unwrap();
        let after = lab.find("node", node).unwrap().unwrap();
        assert_eq!(after["spec"].get("unschedulable"), None);
        assert_eq!(lab.node(node).unwrap().label("quay.example/number"), None);
        lab.kubectl.run(&["delete", "namespace", "drain"]).unwrap();
    }
}
