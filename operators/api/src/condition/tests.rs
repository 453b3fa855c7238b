use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ConditionStatus, ConditionType, Reason, Verdict, merge};

fn verdict(type_: ConditionType, status: ConditionStatus) -> Verdict {
    Verdict { type_, status, reason: Reason::Valid, message: "Because".to_owned() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millisecond(second * 1000 + 900).unwrap()
}

fn types(conditions: &[Condition]) -> Vec<&str> {
    conditions.iter().map(|condition| condition.type_.as_str()).collect()
}

// Rule api-14.
#[test]
fn a_transition_is_a_change_of_status() {
    use ConditionStatus::{False, True};
    for (before, after, expected, because) in [
        (None, True, 9, "a new condition"),
        (Some(True), True, 1, "the same status"),
        (Some(False), True, 9, "another status"),
        (Some(True), False, 9, "another status"),
    ] {
        let previous: Vec<Verdict> =
            before.map(|status| verdict(ConditionType::Ready, status)).into_iter().collect();
        let previous = merge(&[], &[], previous, Some(1), at(1));
        let mut news = verdict(ConditionType::Ready, after);
        news.message = "Another message".to_owned();
        let merged = merge(&previous, &[], vec![news], Some(2), at(9));
        assert_eq!(merged[0].last_transition_time.0, Timestamp::from_second(expected).unwrap(), "{because}");
        let rest = (merged[0].message.as_str(), merged[0].observed_generation);
        assert_eq!(rest, ("Another message", Some(2)), "{because}: what is said is what is true now");
    }
}

// Rule api-15.
#[test]
fn a_type_without_a_verdict_leaves_unless_it_is_kept() {
    let all = [ConditionType::Stalled, ConditionType::Ready, ConditionType::Accepted];
    let verdicts = all.map(|type_| verdict(type_, ConditionStatus::True)).to_vec();
    let previous = merge(&[], &[], verdicts, Some(1), at(1));
    assert_eq!(types(&previous), ["Accepted", "Ready", "Stalled"], "sorted by type");
    let news = vec![verdict(ConditionType::Ready, ConditionStatus::False)];
    let kept = [ConditionType::Accepted, ConditionType::Ready, ConditionType::Reconciling];
    let merged = merge(&previous, &kept, news, Some(2), at(2));
    assert_eq!(types(&merged), ["Accepted", "Ready"]);
    assert_eq!(
        (&merged[0], merged[1].status.as_str()),
        (&previous[0], "False"),
        "a verdict beats what was kept"
    );
}
