use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answers, EVICTIONS_AT_ONCE, Eviction, Held, Hold, Plan, Pod, Progress, Step, plan};
use crate::{
    Evacuation, Notice, Severity,
    fixtures::{Cluster, node, pool},
};

const START: i64 = 1_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Two nodes of the pool that are cordoned, one that is not yet, and one of nobody.
fn cluster() -> Cluster {
    let cordoned = |name: &str| {
        let mut node = node(name, &json!({}));
        node["spec"] = json!({ "unschedulable": true });
        node
    };
    let nodes = [cordoned("quay-1"), cordoned("quay-2"), node("quay-3", &json!({})), cordoned("reef-1")];
    Cluster::new(&[], &nodes)
}

/// A pod that a `ReplicaSet` makes again.
fn wire(node: &str, name: &str) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid-of-{name}"),
            "ownerReferences": [
                { "kind": "Node", "name": "not the controller" },
                { "kind": "ReplicaSet", "controller": true },
            ],
        },
        "spec": { "nodeName": node, "volumes": [{ "name": "tmp", "emptyDir": {} }] },
        "status": { "phase": "Running" },
    })
}

/// The same with these fields changed; null takes one away.
fn changed(mut pod: Value, patch: &Value) -> Value {
    json_patch::merge(&mut pod, patch);
    pod
}

fn read(pod: &Value) -> Pod {
    serde_json::from_value(pod.clone()).unwrap()
}

/// The plan for the three nodes of the pool, this long after its start; none while it has not been announced.
fn planned(pods: &[Value], seconds: Option<i64>) -> Plan {
    let nodes: BTreeSet<String> = ["quay-1", "quay-2", "quay-3"].map(str::to_owned).into();
    planned_for(&nodes, pods, seconds)
}

fn planned_for(nodes: &BTreeSet<String>, pods: &[Value], seconds: Option<i64>) -> Plan {
    let at = |second| Timestamp::from_second(second).unwrap();
    let progress = Progress {
        since: seconds.map(|_| at(START)),
        timeout: TIMEOUT,
        now: at(START + seconds.unwrap_or_default()),
    };
    let pods: Vec<Pod> = pods.iter().map(read).collect();
    plan(nodes, &cluster().observed(), &pods, &progress)
}

fn evicted(plan: &Plan) -> Vec<String> {
    plan.evict.iter().map(ToString::to_string).collect()
}

fn done(plan: &Plan) -> Vec<String> {
    let is_done = |(node, how): (String, Evacuation)| (how == Evacuation::Done).then_some(node);
    plan.evacuations(&Answers::default()).into_iter().filter_map(is_done).collect()
}

fn warnings(plan: &Plan) -> Vec<(&'static str, String)> {
    told(plan.warnings())
}

/// What is told once these nodes are written.
fn losses(plan: &Plan, done: &[&str]) -> Vec<(&'static str, String)> {
    told(plan.losses(&done.iter().map(|node| (*node).to_owned()).collect()))
}

fn told(notices: Vec<Notice>) -> Vec<(&'static str, String)> {
    assert!(notices.iter().all(|notice| notice.severity == Severity::Warning));
    notices.into_iter().map(|notice| (notice.reason, notice.note)).collect()
}

// Rule nodepool-50.
#[test]
fn only_pods_that_have_to_leave_are_evicted() {
    let pod = |patch: &Value| changed(wire("quay-1", "web"), patch);
    for (pod, is_in_the_way, goes, because) in [
        (pod(&json!({})), true, true, "a controller makes it again elsewhere"),
        (pod(&json!({ "metadata": { "ownerReferences": null } })), true, true, "nothing makes it again"),
        (
            pod(&json!({ "metadata": { "ownerReferences": [{ "kind": "DaemonSet", "controller": true }] } })),
            false,
            false,
            "it would return to the same node at once",
        ),
        (
            pod(&json!({ "metadata": { "ownerReferences": [
                { "kind": "DaemonSet" }, { "kind": "ReplicaSet", "controller": true },
            ] } })),
            true,
            true,
            "a DaemonSet owns it but does not control it",
        ),
        (
            pod(&json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "d41d8cd9" } } })),
            false,
            false,
            "the kubelet runs it from a file",
        ),
        (pod(&json!({ "status": { "phase": "Succeeded" } })), false, false, "it has ended"),
        (pod(&json!({ "status": { "phase": "Failed" } })), false, false, "it has ended"),
        (pod(&json!({ "status": { "phase": "Pending" } })), true, true, "it will run"),
        (pod(&json!({ "status": null })), true, true, "the kubelet has not seen it yet"),
        (
            pod(&json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })),
            true,
            false,
            "it is ending, and is waited for",
        ),
        (pod(&json!({ "spec": { "nodeName": "reef-1" } })), false, false, "another node"),
        (pod(&json!({ "spec": { "nodeName": null } })), false, false, "no node yet"),
        (pod(&json!({ "spec": { "nodeName": "quay-3" } })), true, false, "it would come back"),
    ] {
        let plan = planned(&[pod], Some(1));
        let expected = (usize::from(is_in_the_way), usize::from(goes));
        assert_eq!((plan.remaining.len(), plan.evict.len()), expected, "{because}");
    }
}

// Rule nodepool-50.
#[test]
fn an_eviction_names_one_pod_and_no_later_one() {
    let pods = [wire("quay-2", "web"), wire("quay-1", "api")];
    let eviction = |name: &str, node: &str| Eviction {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        node: node.to_owned(),
    };
    assert_eq!(planned(&pods, Some(0)).evict, [eviction("api", "quay-1"), eviction("web", "quay-2")]);
}

// Rule nodepool-51.
#[test]
fn what_will_be_lost_is_told_before_the_first_eviction() {
    let bare = json!({ "metadata": { "ownerReferences": null } });
    let host_path =
        json!({ "spec": { "volumes": [{ "name": "a", "emptyDir": {} }, { "name": "b", "hostPath": {} }] } });
    let pods = [
        wire("quay-1", "web"),
        changed(wire("quay-1", "job"), &bare),
        changed(wire("quay-2", "db"), &host_path),
        changed(changed(wire("quay-2", "log"), &bare), &host_path),
    ];
    let first = planned(&pods, None);
    assert_eq!((first.step, evicted(&first)), (Step::Announce, vec![]));
    let expected = [
        ("BarePodsFound", "Found 2 pods that no controller will make again: shop/job, shop/log".to_owned()),
        (
            "HostPathPodsFound",
            "Found 2 pods that leave data in hostPath volumes: shop/db, shop/log".to_owned(),
        ),
    ];
    assert_eq!(warnings(&first), expected);
    let second = planned(&pods, Some(0));
    assert_eq!(evicted(&second), ["shop/db", "shop/job", "shop/log", "shop/web"]);
    assert_eq!(warnings(&second), [], "it is told once");
    assert_eq!(warnings(&planned(&pods[..1], None)), [], "a pod that comes back is no news");
}

// Rule nodepool-52.
#[test]
fn a_node_is_empty_when_no_pod_is_left_and_none_can_come() {
    let pods = [wire("quay-1", "web")];
    for (pods, seconds, expected, because) in [
        (&pods[..], Some(1), vec!["quay-2"], "quay-1 has a pod, and quay-3 takes new ones"),
        (&pods[..], None, vec!["quay-2"], "there is nothing to announce about it"),
        (&[], Some(1), vec!["quay-1", "quay-2"], "quay-3 takes new ones"),
    ] {
        let plan = planned(pods, seconds);
        assert_eq!(done(&plan), expected, "{because}");
        assert_ne!(plan.step, Step::Finish, "{because}");
    }
    let two: BTreeSet<String> = ["quay-1", "quay-2"].map(str::to_owned).into();
    for seconds in [None, Some(1), Some(60)] {
        let plan = planned_for(&two, &[wire("quay-3", "web")], seconds);
        assert_eq!((plan.step, done(&plan)), (Step::Finish, vec!["quay-1".to_owned(), "quay-2".to_owned()]));
        assert_eq!((warnings(&plan), losses(&plan, &["quay-1", "quay-2"])), (vec![], vec![]));
    }
}

// Rule nodepool-53.
#[test]
fn a_drain_ends_in_time() {
    let pods = [wire("quay-1", "web"), wire("quay-3", "api")];
    let evict =
        |passed, left| Step::Evict { passed: Duration::from_secs(passed), left: Duration::from_secs(left) };
    for (seconds, expected, because) in [
        (-9, evict(0, 60), "a clock that was set back"),
        (0, evict(0, 60), "from the first second"),
        (58, evict(58, 2), "as long as there is time"),
        (60, Step::GiveUp, "the end"),
        (1_000, Step::GiveUp, "beyond it, after a restart"),
    ] {
        assert_eq!(planned(&pods, Some(seconds)).step, expected, "{because}");
    }
    let last = planned(&pods, Some(60));
    assert_eq!(evicted(&last), Vec::<String>::new(), "nothing goes after the end");
    assert_eq!(done(&last), ["quay-1", "quay-2", "quay-3"], "all are let go");
}

// Rule nodepool-53.
#[test]
fn what_is_given_up_is_told_of_the_nodes_that_were_let_go() {
    let pods = [wire("quay-1", "web"), wire("quay-3", "api"), wire("quay-3", "db")];
    let last = planned(&pods, Some(60));
    let told = |note: &str| vec![("DrainTimedOut", note.to_owned())];
    let all = "Let go of 2 nodes after spec.drainTimeout with 3 pods on them: shop/api, shop/db, shop/web";
    assert_eq!(losses(&last, &["quay-1", "quay-2", "quay-3"]), told(all));
    let one = "Let go of 1 node after spec.drainTimeout with 1 pod on them: shop/web";
    assert_eq!(losses(&last, &["quay-1"]), told(one), "the other node could not be written");
    assert_eq!(losses(&last, &[]), vec![], "nothing could be written");
    assert_eq!(losses(&last, &["quay-2"]), vec![], "it was empty");
    assert_eq!(losses(&planned(&pods, Some(59)), &["quay-1"]), vec![], "there is time");
    let none = "Let go of 1 node after spec.drainTimeout with 0 pods on them";
    assert_eq!(losses(&planned(&[], Some(60)), &["quay-3"]), told(none), "a node that took no cordon");
}

/// Of these pods each is held by this.
fn held(pods: &[Eviction], hold: Hold) -> Answers {
    let words = |pod: &Eviction| format!("{pod} stays");
    let all = pods.iter().map(|pod| Held { pod: pod.clone(), hold, words: words(pod) });
    Answers { going: 0, held: all.collect() }
}

// Rule nodepool-54.
#[test]
fn what_holds_pods_is_told_with_their_node() {
    let plan = planned(&[wire("quay-1", "web"), wire("quay-1", "api")], Some(1));
    let mixed = |hold, other| {
        let Answers { held: mut all, .. } = held(&plan.evict[..1], hold);
        all.extend(held(&plan.evict[1..], other).held);
        Answers { going: 0, held: all }
    };
    assert_eq!(evicted(&plan), ["shop/web", "shop/api"]);
    for (answers, expected) in [
        (held(&plan.evict, Hold::Budget), "a PodDisruptionBudget keeps 2 pods there: shop/api, shop/web"),
        (held(&plan.evict[..1], Hold::Budget), "a PodDisruptionBudget keeps 1 pod there: shop/web"),
        (held(&plan.evict, Hold::Refusal), "an eviction is refused: shop/api and 1 more: shop/api stays"),
        (held(&plan.evict[..1], Hold::Failure), "an eviction fails: shop/web: shop/web stays"),
        (mixed(Hold::Budget, Hold::Failure), "an eviction fails: shop/api: shop/api stays"),
        (mixed(Hold::Refusal, Hold::Failure), "an eviction is refused: shop/web: shop/web stays"),
    ] {
        let expected = BTreeMap::from([
            ("quay-1".to_owned(), Evacuation::Blocked(expected.to_owned())),
            ("quay-2".to_owned(), Evacuation::Done),
        ]);
        assert_eq!(plan.evacuations(&answers), expected);
    }
}

/// So many pods on one node.
fn crowd(count: usize) -> Vec<Pod> {
    (0..count).map(|number| read(&wire("quay-1", &format!("web-{number:04}")))).collect()
}

// Rule nodepool-55.
#[test]
fn a_pass_asks_only_so_many_pods_and_each_has_its_turn() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let (nodes, observed) = (["quay-1".to_owned()].into(), cluster().observed());
    let asked = |pods: &[Pod], seconds: i64| {
        let timeout = Duration::from_secs(86_400);
        let progress = Progress { since: Some(at(START)), timeout, now: at(START + seconds) };
        plan(&nodes, &observed, pods, &progress).evict
    };
    assert_eq!(asked(&crowd(99), 3).len(), 99);
    for (count, passes) in [(101, 12), (200, 12), (700, 40)] {
        let pods = crowd(count);
        for rhythm in [1, 2, 5, 7, 10, 30] {
            let mut all = BTreeSet::new();
            for pass in 0..passes {
                let asked = asked(&pods, pass * rhythm);
                assert_eq!(asked.len(), EVICTIONS_AT_ONCE);
                all.extend(asked);
            }
            assert_eq!(all.len(), count, "every {rhythm} s");
        }
    }
}

// Rule nodepool-55.
#[test]
fn the_pause_grows_while_nothing_moves_and_ends_with_the_time() {
    let going = |going| Answers { going, held: Vec::new() };
    let pods: Vec<_> = (0..40)
        .map(|number| Eviction {
            node: "quay-1".to_owned(),
            namespace: "harbour".to_owned(),
            name: format!("crate-{number}"),
            uid: String::new(),
        })
        .collect();
    let most_going = Answers { going: 60, ..held(&pods, Hold::Budget) };
    let after = |step, ready: usize, answers: &Answers| {
        Plan { step, ready, ..Plan::default() }.again(answers).as_secs()
    };
    let evict =
        |passed, left| Step::Evict { passed: Duration::from_secs(passed), left: Duration::from_secs(left) };
    for (step, ready, answers, expected, because) in [
        (Step::Announce, 0, going(0), 1, "it is told, and begins"),
        (Step::GiveUp, 0, going(0), 1, "what could not be written is tried again"),
        (evict(0, 900), 300, going(100), 1, "others have their turn"),
        (evict(800, 900), 100, going(100), 5, "those that go are waited for"),
        (evict(0, 900), 100, most_going, 5, "all have been asked, those that are held as well"),
        (evict(0, 900), 0, going(0), 5, "some are still ending"),
        (evict(50, 900), 300, going(0), 5, "no pod goes, and others have their turn later"),
        (evict(100, 900), 0, going(0), 10, "longer and longer"),
        (evict(100_000, 900), 0, going(0), 30, "but not for ever"),
        (evict(890, 10), 0, going(0), 10, "the time is over before"),
    ] {
        assert_eq!(after(step, ready, &answers), expected, "{because}");
    }
}

// Rule nodepool-53.
#[test]
fn the_status_remembers_when_a_drain_began() {
    let now = Timestamp::from_second(START).unwrap();
    let with = |type_: &str, status: &str| {
        let mut pool = pool("high-io", 1, &json!({ "nodeNames": ["quay-1"] }));
        let condition = |type_: &str, status: &str, second: &str| {
            json!({
                "type": type_, "status": status, "reason": "Draining", "message": "",
                "lastTransitionTime": format!("1970-01-01T00:00:{second}Z"),
            })
        };
        let conditions = [condition("Ready", "True", "01"), condition(type_, status, "02")];
        pool.status = serde_json::from_value(json!({ "conditions": conditions })).unwrap();
        Progress::new(&pool, TIMEOUT, now)
    };
    let began = Progress { since: Some(Timestamp::from_second(2).unwrap()), timeout: TIMEOUT, now };
    let not_begun = Progress { since: None, ..began };
    assert_eq!(with("Draining", "True"), began);
    assert_eq!(with("Draining", "False"), not_begun);
    assert_eq!(with("Stalled", "True"), not_begun);
    let new = pool("high-io", 1, &json!({ "nodeNames": ["quay-1"] }));
    assert_eq!(Progress::new(&new, TIMEOUT, now), not_begun);
}
