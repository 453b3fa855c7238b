//! How a status stays small whatever it has to tell.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Condition};
use stowage_api::{NodePoolStatus, NodeSamples};

use crate::quantity::is_of_kubernetes;

/// Most bytes of a status as JSON. Every change of it is sent to all that watch pools.
const STATUS_LIMIT: usize = 2_047;

/// What the parts of a status may take.
#[derive(Clone, Copy)]
struct Room {
    /// Most bytes of one message.
    message: usize,
    /// Most bytes of the names in one sample.
    names: usize,
    /// Most bytes of the sums in one map of resources.
    sums: usize,
}

/// The rooms from the largest on; the last holds everything there can be. One message says more than a list of
/// names, and a list more than the sums, so the last go first.
const ROOMS: [Room; 6] = [
    Room { message: 280, names: 256, sums: 512 },
    Room { message: 280, names: 256, sums: 128 },
    Room { message: 160, names: 256, sums: 64 },
    Room { message: 120, names: 128, sums: 64 },
    Room { message: 80, names: 64, sums: 0 },
    Room { message: 48, names: 0, sums: 0 },
];

/// `status` in the largest room in which it is small enough.
pub(super) fn fitted(status: NodePoolStatus) -> NodePoolStatus {
    let cut = |room: &Room| room.cut(&status);
    ROOMS
        .iter()
        .map(cut)
        .find(|cut| size(cut) <= STATUS_LIMIT)
        .or_else(|| ROOMS.last().map(cut))
        .unwrap_or(status)
}

fn size(status: &NodePoolStatus) -> usize {
    serde_json::to_vec(status).map_or(usize::MAX, |json| json.len())
}

impl Room {
    fn cut(&self, status: &NodePoolStatus) -> NodePoolStatus {
        let NodePoolStatus { observed_generation, nodes, capacity, allocatable, samples, conditions } =
            status;
        let message = |condition: &Condition| Condition {
            message: shortened(&condition.message, self.message),
            ..condition.clone()
        };
        NodePoolStatus {
            observed_generation: *observed_generation,
            nodes: *nodes,
            capacity: self.sums(capacity),
            allocatable: self.sums(allocatable),
            samples: samples.as_ref().map(|NodeSamples { not_ready, rejected }| NodeSamples {
                not_ready: self.names(not_ready),
                rejected: self.names(rejected),
            }),
            conditions: conditions.iter().map(message).collect(),
        }
    }

    fn names(&self, names: &[String]) -> Vec<String> {
        let mut left = self.names;
        let fits = |name: &&String| take(&mut left, name.len());
        names.iter().take_while(fits).cloned().collect()
    }

    fn sums(&self, sums: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
        let mut left = self.sums;
        let fits = |(name, sum): &(&String, &Quantity)| take(&mut left, name.len() + sum.0.len());
        let (own, of_others): (Vec<_>, Vec<_>) = sums.iter().partition(|(name, _)| is_of_kubernetes(name));
        let fitting = own.into_iter().chain(of_others).filter(fits);
        fitting.map(|(name, sum)| (name.clone(), sum.clone())).collect()
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

/// `message` on one line, in at most `limit` bytes of JSON.
fn shortened(message: &str, limit: usize) -> String {
    const MORE: &str = "...";
    let line = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    if line.clone().map(room_of).sum::<usize>() <= limit {
        return line.collect();
    }
    let mut left = limit.saturating_sub(MORE.len());
    line.take_while(|c| take(&mut left, room_of(*c))).chain(MORE.chars()).collect()
}

fn room_of(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_api::NodePoolStatus;

    use super::{STATUS_LIMIT, fitted, shortened, size};

    /// A status with seven messages, one of them as long as the others and `more`.
    fn status(more: usize) -> NodePoolStatus {
        let condition = |index: usize| {
            json!({
                "type": format!("T{index}"), "status": "True", "reason": "R",
                "message": "m".repeat(if index == 0 { 100 + more } else { 100 }),
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        };
        serde_json::from_value(json!({
            "capacity": { "cpu": "1", "a.example/gpu": "g".repeat(128), "pods": "110" },
            "samples": { "notReady": ["n".repeat(200)], "rejected": ["r".repeat(60), "r".repeat(5)] },
            "conditions": (0..7).map(condition).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    // Rule nodepool-22.
    #[test]
    fn nothing_is_cut_that_fits() {
        let fits = (0..180).map(status).filter(|status| size(status) <= STATUS_LIMIT).count();
        assert!((1..180).contains(&fits), "the limit lies between the smallest and the largest");
        for more in 0..180 {
            let whole = status(more);
            assert_eq!(fitted(whole.clone()) == whole, more < fits, "{} bytes", size(&whole));
        }
    }

    // Rule nodepool-22.
    #[test]
    fn the_sums_go_first_and_those_of_kubernetes_last() {
        let (whole, cut) = (status(179), fitted(status(179)));
        assert_eq!(cut.capacity.keys().collect::<Vec<_>>(), ["cpu", "pods"]);
        assert_eq!((cut.conditions, cut.samples), (whole.conditions, whole.samples));
    }

    // Rule nodepool-22.
    #[test]
    fn a_message_is_cut_to_its_room_as_json() {
        let cases = [
            ("abcdefgh".to_owned(), "abcdefgh", "it fits"),
            ("abcdefghi".to_owned(), "abcde...", "one too many"),
            ("a\"c\\efg".to_owned(), "a\"c...", "quotes take two"),
            ("a\nc".to_owned(), "a c", "on one line"),
            ("\u{20ac}\u{20ac}\u{20ac}".to_owned(), "\u{20ac}...", "no part of a sign"),
        ];
        for (message, expected, because) in cases {
            assert_eq!(shortened(&message, 8), expected, "{because}");
            assert_eq!(shortened(expected, 8), expected, "{because}: once");
        }
    }
}
