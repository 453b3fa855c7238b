use jiff::Timestamp;
use serde_json::json;
use stowage_api::NodePoolStatus;

use super::{About, Notice, Severity, notices};
use crate::{
    Desired, Move, Names, Standing, Wait,
    fixtures::pool,
    status::{Written, accepted},
};

fn told(notices: &[Notice]) -> Vec<String> {
    let line = |Notice { about, severity, reason, note }: &Notice| {
        let about = match about {
            About::Pool => "pool",
            About::Node(name) => name,
        };
        let warning = if *severity == Severity::Warning { " (!)" } else { "" };
        format!("{about}: {reason}{warning}: {note}")
    };
    notices.iter().map(line).collect()
}

fn written(nodes: &[&str]) -> Written {
    Written { done: nodes.iter().map(|node| (*node).to_owned()).collect(), ..Written::default() }
}

fn moved(node: &str, from: Option<&str>, to: Option<&str>) -> (String, Move) {
    (node.to_owned(), Move::between(from, to).unwrap())
}

fn pass(desired: &Desired, written: &Written) -> Vec<String> {
    told(&notices(&pool("high-io", 1, &json!({})), &NodePoolStatus::default(), desired, written))
}

// Rule nodepool-39.
#[test]
fn nodes_that_come_and_go_are_told_and_the_pool_has_the_sums() {
    let moves = [
        moved("quay-1", None, Some("high-io")),
        moved("quay-2", Some("high-io"), None),
        moved("quay-3", Some("jib"), Some("high-io")),
        moved("quay-4", None, Some("high-io")),
    ];
    let rebased = ["quay-3".to_owned(), "quay-4".to_owned()].into();
    let desired = Desired { moves: moves.into(), rebased, ..Desired::default() };
    let expected = [
        "quay-1: NodePoolJoined: Joined the NodePool high-io",
        "quay-2: NodePoolLeft: Left the NodePool high-io and got back what it had before",
        "quay-3: NodePoolChanged: Moved from the NodePool jib to the NodePool high-io",
        "pool: NodesUpdated: Updated 4 nodes: 1 joined, 1 left, 1 moved",
        "pool: LedgerRebuilt (!): The ledger was unreadable and what the nodes carried became the base: quay-3",
    ];
    let done = written(&["quay-1", "quay-2", "quay-3", "quay-9"]);
    assert_eq!(pass(&desired, &done), expected, "quay-4 is not written yet");
    assert_eq!(pass(&Desired::default(), &written(&["quay-1"])), ["pool: NodesUpdated: Updated 1 node"]);
    assert!(pass(&desired, &Written::default()).is_empty(), "nothing has happened");
}

// Rule nodepool-39.
#[test]
fn of_many_nodes_ten_are_told() {
    let names: Vec<String> = (0..50).map(|index| format!("quay-{index:02}")).collect();
    let moves = names.iter().map(|name| moved(name, None, Some("high-io"))).collect();
    let desired = Desired { moves, ..Desired::default() };
    let told = pass(&desired, &written(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(told.len(), 11);
    assert_eq!(told.last().unwrap(), "pool: NodesUpdated: Updated 50 nodes: 50 joined");
}

// Rule nodepool-39.
#[test]
fn what_a_status_says_newly_is_told_once() {
    let mut pool = pool("high-io", 1, &json!({ "nodeNames": ["quay-1"] }));
    let names: Names = ["quay-7"].into_iter().collect();
    let drain = |blocked: Option<&str>| Standing {
        wait: Wait::Drain { nodes: ["quay-1".to_owned()].into(), blocked: blocked.map(str::to_owned) },
        ..Standing::default()
    };
    let denied = Written { denied: [("quay-1".to_owned(), "no".to_owned())].into(), ..Written::default() };
    let none = Written::default;
    let members = Standing { wait: Wait::Members, ..Standing::default() };
    let blocked = "pool: EvictionBlocked (!): Could not evict pods yet: web";
    let steps = [
        (
            Standing { contested: names.clone(), ..Standing::default() },
            none(),
            Some("pool: NodesContested (!): Asked for 1 node that other pools had: quay-7"),
        ),
        (
            Standing { pinned: names, ..Standing::default() },
            none(),
            Some("pool: ZoneKept (!): Kept the zone of 1 node to which PersistentVolumes were bound: quay-7"),
        ),
        (
            Standing::default(),
            denied,
            Some("pool: NodesRejected (!): An admission plugin refused the change of 1 node (quay-1): no"),
        ),
        (Standing::default(), none(), None),
        (
            members,
            none(),
            Some(
                "pool: DeletionRefused (!): Refused the deletion, because the pool had 0 nodes: see the condition \
                 Ready",
            ),
        ),
        (drain(None), none(), Some("pool: DrainStarted: Began to empty 1 node: quay-1")),
        (drain(Some("web")), none(), Some(blocked)),
        (drain(None), none(), None),
        (drain(Some("web")), none(), Some(blocked)),
    ];
    for (index, (standing, written, expected)) in steps.iter().enumerate() {
        let status = accepted(&pool, standing, written, Timestamp::UNIX_EPOCH);
        let desired = Desired { standing: standing.clone(), ..Desired::default() };
        let news = told(&notices(&pool, &status, &desired, written));
        assert_eq!(news, expected.iter().copied().collect::<Vec<_>>(), "step {index}");
        pool.status = Some(status.clone());
        assert!(notices(&pool, &status, &desired, written).is_empty(), "step {index}, again");
    }
}
