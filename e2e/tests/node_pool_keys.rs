//! Everything that a pool puts on a node, on real nodes and through the charts: it comes, stays, and goes again.

use serde_json::{Value, json};
use stowage_e2e::{Lab, Outcome, pool_with};

/// A taint as it stands on a node.
fn taint(node: &Value, key: &str, effect: &str) -> Option<String> {
    let taints = node.pointer("/spec/taints")?.as_array()?;
    let found = taints.iter().find(|taint| taint["key"] == key && taint["effect"] == effect)?;
    Some(found["value"].as_str().unwrap_or_default().to_owned())
}

fn is_cordoned(node: &Value) -> bool {
    node.pointer("/spec/unschedulable") == Some(&json!(true))
}

/// The taints of a node that are not Kubernetes' own: those come and go with its health.
fn others_taints(node: &Value) -> Vec<Value> {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
    taints.into_iter().filter(|taint| !taint["key"].to_string().contains("kubernetes.io/")).collect()
}

fn object(lab: &Lab, node: &str) -> Outcome<Value> {
    lab.find("node", node)?.ok_or_else(|| format!("there is no node {node}").into())
}

#[test]
fn annotations_come_back_as_labels_do() {
    let lab = Lab::open().unwrap();
    let [node, ..] = &lab.nodes().unwrap();
    let (kept, given) = ("berth.example/depth", "berth.example/side");
    lab.annotate(node, kept, Some("12 m, by hand")).unwrap();
    lab.settle(&pool_with(
        "depths",
        &[node],
        &json!({"annotations": {kept: "14 m", given: "port, \"aft\""}}),
    ))
    .unwrap();
    let read = || {
        let node = object(&lab, node).unwrap();
        [kept, given].map(|key| node["metadata"]["annotations"].get(key).cloned())
    };
    assert_eq!(read(), [Some(json!("14 m")), Some(json!("port, \"aft\""))]);
    lab.delete_pool("depths").unwrap();
    assert_eq!(read(), [Some(json!("12 m, by hand")), None]);
    lab.annotate(node, kept, None).unwrap();
}

/// With nodes that may be tainted and cordoned.
mod audited {
    use stowage_api::keys::{NODEPOOL_LABEL, NODEPOOL_LEDGER_ANNOTATION};
    use stowage_cluster::wait_for;
    use stowage_e2e::{LIMIT, NAMESPACE, RESOURCE, SERVICE_ACCOUNT, condition, is_settled, plain_node};

    use super::*;

    #[test]
    fn taints_and_the_cordon_come_in_one_patch_and_go_without_a_trace() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        // One that the pool replaces, and one of the same key with another effect, which is none of its business.
        lab.kubectl.run(&["taint", "node", node, "deck.example/kind=old:PreferNoSchedule"]).unwrap();
        lab.kubectl.run(&["taint", "node", node, "deck.example/kind=foreign:NoSchedule"]).unwrap();
        let before = others_taints(&object(&lab, node).unwrap());
        let spec = json!({
            "taints": [
                {"key": "deck.example/kind", "value": "new", "effect": "PreferNoSchedule"},
                {"key": "deck.example/more", "effect": "PreferNoSchedule"},
            ],
            "unschedulable": true,
        });
        let audit = lab.audit().unwrap();
        let settled = lab.settle(&pool_with("decks", &[node], &spec)).unwrap();
        assert_eq!(settled["status"]["nodes"]["total"], 1);
        let during = object(&lab, node).unwrap();
        assert_eq!(taint(&during, "deck.example/kind", "PreferNoSchedule").as_deref(), Some("new"));
        assert_eq!(taint(&during, "deck.example/kind", "NoSchedule").as_deref(), Some("foreign"));
        assert_eq!(taint(&during, "deck.example/more", "PreferNoSchedule").as_deref(), Some(""));
        assert!(is_cordoned(&during));
        let patches = lab.node_writes(&audit, node).unwrap();
        assert_eq!(patches.len(), 1, "{patches:?}");

        // Drift: a taint that a hand removes and a cordon that a hand lifts are back after one write each.
        lab.kubectl.run(&["taint", "node", node, "deck.example/more:PreferNoSchedule-"]).unwrap();
        lab.wait_for("the taint again on", "node", node, |seen| {
            taint(seen, "deck.example/more", "PreferNoSchedule")
        })
        .unwrap();
        lab.kubectl.run(&["uncordon", node]).unwrap();
        lab.wait_for("the cordon again on", "node", node, |seen| is_cordoned(seen).then_some(())).unwrap();

        lab.delete_pool("decks").unwrap();
        let after = object(&lab, node).unwrap();
        assert_eq!((others_taints(&after), is_cordoned(&after)), (before, false));
        lab.kubectl.run(&["taint", "node", node, "deck.example/kind-"]).unwrap();
    }

    #[test]
    fn what_is_put_on_joining_is_put_once_for_each_joining() {
        let lab = Lab::open().unwrap();
        let [_, node, _] = &lab.nodes().unwrap();
        let once = "hatch.example/not-inspected";
        let spec = json!({
            "labels": {"hatch.example/size": "small"},
            "taints": [{"key": once, "effect": "PreferNoSchedule", "propagation": "OnInitialization"}],
            "cordonOnJoin": true,
        });
        for _ in 0..2 {
            lab.settle(&pool_with("hatches", &[node], &spec)).unwrap();
            let joined = object(&lab, node).unwrap();
            assert!(taint(&joined, once, "PreferNoSchedule").is_some() && is_cordoned(&joined));
            // Somebody has looked at it.
            lab.kubectl.run(&["taint", "node", node, &format!("{once}-")]).unwrap();
            lab.kubectl.run(&["uncordon", node]).unwrap();
            // What is put always shows that the pool is at work all the same.
            lab.set_label(node, "hatch.example/size", Some("big")).unwrap();
            lab.wait_for_label(node, "hatch.example/size", Some("small")).unwrap();
            let later = object(&lab, node).unwrap();
            assert!(taint(&later, once, "PreferNoSchedule").is_none() && !is_cordoned(&later));
            lab.delete_pool("hatches").unwrap();
        }
    }

    #[test]
    fn under_yield_the_hand_wins_and_keeps_what_it_has_won() {
        let lab = Lab::open().unwrap();
        let [_, _, node] = &lab.nodes().unwrap();
        let labels = json!({"helm.example/course": "north", "helm.example/speed": "slow"});
        let spec = json!({"labels": labels, "conflictPolicy": "Yield"});
        lab.settle(&pool_with("helms", &[node], &spec)).unwrap();
        lab.set_label(node, "helm.example/course", Some("south")).unwrap();
        lab.set_label(node, "helm.example/speed", None).unwrap();
        // The ledger says so in the end: only then has the controller seen it and left it.
        lab.wait_for("a ledger that has yielded on", "node", node, |seen| {
            let ledger = seen["metadata"]["annotations"][NODEPOOL_LEDGER_ANNOTATION].as_str()?;
            (ledger.matches("yielded").count() == 2).then_some(())
        })
        .unwrap();
        let seen = lab.node(node).unwrap();
        assert_eq!(
            (seen.label("helm.example/course"), seen.label("helm.example/speed")),
            (Some("south"), None)
        );
        lab.delete_pool("helms").unwrap();
        let after = lab.node(node).unwrap();
        assert_eq!((after.label("helm.example/course"), after.label(NODEPOOL_LABEL)), (Some("south"), None));
        lab.set_label(node, "helm.example/course", None).unwrap();
    }

    #[test]
    fn a_zone_is_given_only_where_there_is_none_and_stays_while_a_volume_needs_it() {
        const ZONE: &str = "topology.kubernetes.io/zone";
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        let real = lab.node(node).unwrap().label(ZONE).map(str::to_owned);
        assert!(real.is_some(), "the cluster gives its nodes zones");
        lab.kubectl.send("create", &plain_node("island-1", &json!({}))).unwrap();
        let with = |zone: &str| pool_with("island", &[node, "island-1"], &json!({"topologyZone": zone}));
        lab.settle(&with("IfAbsent")).unwrap();
        assert_eq!(lab.node("island-1").unwrap().label(ZONE), Some("island"));
        assert_eq!(lab.node(node).unwrap().label(ZONE).map(str::to_owned), real);

        let term = json!({"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["island"]}]});
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "island-volume"},
            "spec": {
                "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            },
        });
        lab.kubectl.send("create", &volume).unwrap();
        lab.apply(&with("Never")).unwrap();
        let pinned = |object: &Value| condition(object, "ZonePinned").is_some();
        lab.wait_for_pool("island", "a pinned zone in", pinned).unwrap();
        assert_eq!(lab.node("island-1").unwrap().label(ZONE), Some("island"));
        lab.delete("persistentvolume", "island-volume").unwrap();
        lab.wait_for_label("island-1", ZONE, None).unwrap();
        lab.wait_for_pool("island", "a settled pool", |object| is_settled(object) && !pinned(object))
            .unwrap();
        lab.delete_pool("island").unwrap();
        lab.delete("node", "island-1").unwrap();
    }

    /// An admission policy such as a cloud has: one key of one node is the provider's.
    fn provider_policy(node: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": "provider.example"},
                "spec": {
                    "failurePolicy": "Fail",
                    "matchConstraints": {"resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"],
                    }]},
                    "validations": [{
                        "expression": format!(
                            "object.metadata.name != '{node}' || !('rig.example/sail' in object.metadata.labels)"
                        ),
                        "message": "rig.example/sail belongs to the provider",
                    }],
                },
            },
            {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": "provider.example"},
                "spec": {"policyName": "provider.example", "validationActions": ["Deny"]},
            },
        ]})
    }

    #[test]
    fn a_provider_that_refuses_one_node_is_told_and_left_alone_and_the_others_are_done() {
        let lab = Lab::open().unwrap();
        let [one, two, _] = &lab.nodes().unwrap();
        let policy = provider_policy(two);
        lab.kubectl.send("create", &policy).unwrap();
        // The API server takes a moment to enforce it.
        wait_for("a policy that refuses", LIMIT, || {
            match lab.kubectl.run(&["label", "node", two, "rig.example/sail=x", "--dry-run=server"]) {
                Err(_) => Ok(()),
                Ok(text) => Err(text),
            }
        })
        .unwrap();
        let audit = lab.audit().unwrap();
        lab.apply(&pool_with("rigs", &[one, two], &json!({"labels": {"rig.example/sail": "lateen"}})))
            .unwrap();
        let rejected = |object: &Value| condition(object, "RejectedByProvider").is_some();
        let told = lab.wait_for_pool("rigs", "a rejection in", rejected).unwrap();
        let message = condition(&told, "RejectedByProvider").unwrap()["message"].to_string();
        assert!(message.contains(two) && message.contains("belongs to the provider"), "{message}");
        assert_eq!(told["status"]["samples"]["rejected"], json!([two]));
        assert_eq!(lab.node(one).unwrap().label("rig.example/sail"), Some("lateen"));

        // Whatever wakes the controller, the same patch is not sent again for minutes.
        for number in 0..10 {
            lab.set_label(one, "rig.example/noise", Some(&number.to_string())).unwrap();
        }
        lab.set_label(one, "rig.example/sail", Some("square")).unwrap();
        lab.wait_for_label(one, "rig.example/sail", Some("lateen")).unwrap();
        let attempts = audit.attempts_of(SERVICE_ACCOUNT).unwrap();
        let refused = attempts.iter().filter(|request| request.name == **two && !request.was_carried_out());
        assert_eq!(refused.count(), 1, "{attempts:?}");

        // A changed wish is a new patch, and goes at once.
        lab.kubectl
            .run(&[
                "delete",
                "validatingadmissionpolicybinding,validatingadmissionpolicy",
                "provider.example",
            ])
            .unwrap();
        wait_for("a policy that is gone", LIMIT, || {
            lab.kubectl
                .run(&["label", "node", two, "rig.example/sail=x", "--dry-run=server"])
                .map_err(|error| error.to_string())
        })
        .unwrap();
        lab.settle(&pool_with("rigs", &[one, two], &json!({"labels": {"rig.example/sail": "gaff"}})))
            .unwrap();
        assert_eq!(lab.node(two).unwrap().label("rig.example/sail"), Some("gaff"));
        lab.delete_pool("rigs").unwrap();
        lab.set_label(one, "rig.example/noise", None).unwrap();
    }

    #[test]
    fn two_pools_that_fight_a_hundred_times_over_a_node_write_it_once() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        let audit = lab.audit().unwrap();
        lab.settle(&pool_with("fight-a", &[node], &json!({"labels": {"fight.example/won": "a"}}))).unwrap();
        wait_for("the next second", LIMIT, || lab.is_older_than_a_second("fight-a")).unwrap();
        lab.apply(&pool_with("fight-b", &[node], &json!({"labels": {"fight.example/won": "b"}}))).unwrap();
        let conflict = |object: &Value| condition(object, "MembershipConflict").is_some();
        lab.wait_for_pool("fight-b", "the loser's word", conflict).unwrap();
        for round in 0..50 {
            for name in ["fight-a", "fight-b"] {
                let change = format!("fight.example/round={round}");
                lab.kubectl.run(&["annotate", RESOURCE, name, &change, "--overwrite"]).unwrap();
            }
        }
        // The last word is heard: a change of the spec is carried out after all that came before.
        let last = json!({"labels": {"fight.example/won": "a", "fight.example/over": "yes"}});
        let before = lab.node_writes(&audit, node).unwrap();
        assert_eq!(before.len(), 1, "{before:?}");
        lab.settle(&pool_with("fight-a", &[node], &last)).unwrap();
        assert_eq!(lab.node_writes(&audit, node).unwrap().len(), 2);
        lab.delete_pool("fight-b").unwrap();
        lab.delete_pool("fight-a").unwrap();
    }

    #[test]
    fn a_ledger_that_hands_spoil_is_rebuilt_from_what_is_there() {
        let lab = Lab::open().unwrap();
        let [_, node, _] = &lab.nodes().unwrap();
        let labels = json!({"keel.example/length": "long"});
        lab.settle(&pool_with("keels", &[node], &json!({"labels": labels}))).unwrap();
        let ledger = || {
            let node = object(&lab, node).unwrap();
            node["metadata"]["annotations"][NODEPOOL_LEDGER_ANNOTATION]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let good = ledger();
        for spoilt in [None, Some("{not json")] {
            lab.annotate(node, NODEPOOL_LEDGER_ANNOTATION, spoilt).unwrap();
            wait_for("a ledger that reads", LIMIT, || {
                let now = ledger();
                let reads = serde_json::from_str::<Value>(&now).is_ok_and(|read| read["version"].is_u64());
                (reads && now != good).then_some(()).ok_or(now)
            })
            .unwrap();
        }
        // The live value has become the base, so it stays.
        lab.delete_pool("keels").unwrap();
        assert_eq!(lab.node(node).unwrap().label("keel.example/length"), Some("long"));
        lab.set_label(node, "keel.example/length", None).unwrap();
    }

    #[test]
    fn settings_are_published_follow_the_spec_and_go_with_it() {
        let lab = Lab::open().unwrap();
        let map = || lab.find_in(NAMESPACE, "configmap", "nodepool-bridge");
        let spec = json!({
            "kubelet": {"maxPods": 64, "kubeAPIQPS": 100}, "localDNS": true,
            "kubeProxy": {"conntrack": {"min": 131_072}}, "bootstrap": {"script": "#!/bin/sh\necho aye\n"},
        });
        let settled = lab.settle(&pool_with("bridge", &["bridge-1"], &spec)).unwrap();
        assert_eq!(condition(&settled, "BootstrapRendered").unwrap()["reason"], "Unsupported");
        let published = map().unwrap().unwrap();
        assert_eq!(published["data"]["bootstrap.sh"], "#!/bin/sh\necho aye\n");
        let kubelet = published["data"]["kubelet.conf"].as_str().unwrap();
        assert!(kubelet.contains("maxPods") && kubelet.contains("169.254.20.10"), "{kubelet}");

        // By hand changed, and by hand deleted: it returns.
        let patch = r#"{"data": {"bootstrap.sh": "rm -rf /"}}"#;
        let in_namespace = ["--namespace", NAMESPACE];
        lab.kubectl
            .run(&[&in_namespace[..], &["patch", "configmap", "nodepool-bridge", "-p", patch]].concat())
            .unwrap();
        let is_back = || {
            let now = map().map_err(|error| error.to_string())?.unwrap_or_default();
            if now["data"] == published["data"] { Ok(()) } else { Err(now.to_string()) }
        };
        wait_for("the published settings", LIMIT, is_back).unwrap();
        lab.kubectl.run(&[&in_namespace[..], &["delete", "configmap", "nodepool-bridge"]].concat()).unwrap();
        wait_for("the published settings", LIMIT, is_back).unwrap();

        lab.settle(&pool_with("bridge", &["bridge-1"], &json!({}))).unwrap();
        wait_for("no settings", LIMIT, || match map() {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .unwrap();
        lab.delete_pool("bridge").unwrap();
    }
}
