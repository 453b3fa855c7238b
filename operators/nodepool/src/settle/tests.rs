use proptest::{option, prelude::*, sample::select};
use stowage_api::node_pool::ConflictPolicy::{self, Enforce, Yield};

use super::{
    Arrival::{self, Joins, Stays},
    Settled, Terms, Wish, base, settle,
};
use crate::ledger::{
    Entry, Owned,
    Placing::{self, Always, IfAbsent, Once},
};

fn owned(set: &str, replaced: Option<&str>, placing: Placing) -> Entry {
    Entry::Owned(Owned { set: set.to_owned(), replaced: replaced.map(str::to_owned), placing })
}

fn wish(value: &str, placing: Placing) -> Wish {
    Wish { value: value.to_owned(), placing }
}

fn settled(value: Option<&str>, entry: Option<Entry>) -> Settled {
    Settled { value: value.map(str::to_owned), entry }
}

type Case = (Option<Entry>, Option<&'static str>, Option<Wish>, Settled, &'static str);

fn each(terms: Terms, cases: Vec<Case>) {
    for (entry, live, wish, expected, because) in cases {
        assert_eq!(settle(entry.as_ref(), live, wish.as_ref(), terms), expected, "{because}");
    }
}

// Rules nodepool-10 and nodepool-11.
#[test]
fn under_enforce_what_is_asked_for_is_there() {
    let terms = Terms { was: Enforce, is: Enforce, arrival: Stays };
    let ours = || Some(owned("io", Some("web"), Always));
    each(
        terms,
        vec![
            (
                None,
                None,
                Some(wish("io", Always)),
                settled(Some("io"), Some(owned("io", None, Always))),
                "a new key",
            ),
            (None, Some("web"), Some(wish("io", Always)), settled(Some("io"), ours()), "it replaces"),
            (ours(), Some("io"), Some(wish("io", Always)), settled(Some("io"), ours()), "as it should be"),
            (
                ours(),
                Some("hand"),
                Some(wish("io", Always)),
                settled(Some("io"), ours()),
                "a hand changed it",
            ),
            (ours(), None, Some(wish("io", Always)), settled(Some("io"), ours()), "a hand removed it"),
            (
                ours(),
                Some("io"),
                Some(wish("batch", Always)),
                settled(Some("batch"), Some(owned("batch", Some("web"), Always))),
                "the first replaced value is kept",
            ),
            (ours(), Some("io"), None, settled(Some("web"), None), "it leaves the spec"),
            (ours(), Some("hand"), None, settled(Some("web"), None), "whatever a hand did"),
            (Some(owned("io", None, Always)), Some("io"), None, settled(None, None), "there was nothing"),
            (None, Some("web"), None, settled(Some("web"), None), "never ours"),
            (
                None,
                Some("io"),
                Some(wish("io", Always)),
                settled(Some("io"), Some(owned("io", Some("io"), Always))),
                "what a hand had put before is given back, though it is the same",
            ),
        ],
    );
}

// Rule nodepool-28.
#[test]
fn under_yield_what_a_hand_does_stays() {
    let terms = Terms { was: Yield, is: Yield, arrival: Stays };
    let ours = || Some(owned("io", Some("web"), Always));
    let yielded = || Some(Entry::Yielded);
    each(
        terms,
        vec![
            (ours(), Some("io"), Some(wish("io", Always)), settled(Some("io"), ours()), "no hand"),
            (ours(), Some("hand"), Some(wish("io", Always)), settled(Some("hand"), yielded()), "changed"),
            (ours(), None, Some(wish("io", Always)), settled(None, yielded()), "removed"),
            (
                yielded(),
                Some("hand"),
                Some(wish("io", Always)),
                settled(Some("hand"), yielded()),
                "it stays so",
            ),
            (
                yielded(),
                Some("io"),
                Some(wish("io", Always)),
                settled(Some("io"), yielded()),
                "also if it is ours",
            ),
            (yielded(), Some("hand"), None, settled(Some("hand"), None), "it leaves the spec"),
            (ours(), Some("hand"), None, settled(Some("hand"), None), "at once with the hand"),
            (ours(), Some("io"), None, settled(Some("web"), None), "what no hand touched is given back"),
        ],
    );
}

// Rule nodepool-28.
#[test]
fn the_policy_of_the_time_decides_what_a_hand_may_keep() {
    let ours = || Some(owned("io", Some("web"), Always));
    let yielded = || Some(Entry::Yielded);
    each(
        Terms { was: Yield, is: Enforce, arrival: Stays },
        vec![
            (
                yielded(),
                Some("hand"),
                Some(wish("io", Always)),
                settled(Some("io"), Some(owned("io", Some("hand"), Always))),
                "the hand's value is the new base",
            ),
            (
                ours(),
                Some("hand"),
                Some(wish("io", Always)),
                settled(Some("io"), Some(owned("io", Some("hand"), Always))),
                "also if the hand comes with the policy",
            ),
            (ours(), Some("io"), Some(wish("io", Always)), settled(Some("io"), ours()), "no hand"),
        ],
    );
    each(
        Terms { was: Enforce, is: Yield, arrival: Stays },
        vec![(
            ours(),
            Some("hand"),
            Some(wish("io", Always)),
            settled(Some("io"), ours()),
            "the policy of the time decides",
        )],
    );
    each(
        Terms { was: Yield, is: Yield, arrival: Joins },
        vec![(
            yielded(),
            Some("hand"),
            Some(wish("io", Always)),
            settled(Some("io"), Some(owned("io", Some("hand"), Always))),
            "another pool owes the hand nothing",
        )],
    );
}

// Rule nodepool-29.
#[test]
fn what_is_put_once_is_put_when_the_node_joins() {
    let ours = || Some(owned("io", Some("web"), Once));
    let once = || Some(wish("io", Once));
    for policy in [Enforce, Yield] {
        let terms = Terms { was: policy, is: policy, arrival: Stays };
        each(
            Terms { arrival: Joins, ..terms },
            vec![
                (None, Some("web"), once(), settled(Some("io"), ours()), "it joins"),
                (
                    ours(),
                    None,
                    once(),
                    settled(Some("io"), Some(owned("io", None, Once))),
                    "from another pool",
                ),
            ],
        );
        each(
            terms,
            vec![
                (None, Some("web"), once(), settled(Some("web"), None), "it has joined before"),
                (ours(), Some("io"), once(), settled(Some("io"), ours()), "nobody touched it"),
                (ours(), None, once(), settled(None, None), "removed, and never put again"),
                (ours(), Some("hand"), once(), settled(Some("hand"), None), "changed, and theirs"),
                (ours(), Some("io"), Some(wish("batch", Once)), settled(Some("io"), ours()), "put as it was"),
                (ours(), Some("io"), None, settled(Some("web"), None), "it leaves the spec"),
                (ours(), Some("hand"), None, settled(Some("hand"), None), "it was not ours any more"),
                (
                    ours(),
                    None,
                    Some(wish("io", Always)),
                    settled(Some("io"), Some(owned("io", None, Always))),
                    "now it is asked for always",
                ),
                (
                    Some(owned("io", None, Always)),
                    Some("io"),
                    once(),
                    settled(Some("io"), Some(owned("io", None, Once))),
                    "no longer",
                ),
            ],
        );
    }
}

// Rule nodepool-32.
#[test]
fn what_is_put_if_absent_never_replaces() {
    let ours = || Some(owned("gantry", None, IfAbsent));
    let asked = || Some(wish("gantry", IfAbsent));
    let terms = Terms { was: Enforce, is: Enforce, arrival: Stays };
    each(
        terms,
        vec![
            (None, None, asked(), settled(Some("gantry"), ours()), "there is none"),
            (None, Some("eu-1"), asked(), settled(Some("eu-1"), None), "there is one"),
            (ours(), Some("gantry"), asked(), settled(Some("gantry"), ours()), "as it should be"),
            (ours(), None, asked(), settled(Some("gantry"), ours()), "removed by hand"),
            (ours(), Some("eu-1"), asked(), settled(Some("eu-1"), None), "somebody knows better"),
            (ours(), Some("eu-1"), None, settled(Some("eu-1"), None), "and keeps it"),
            (ours(), Some("gantry"), None, settled(None, None), "it leaves"),
            (
                ours(),
                Some("gantry"),
                Some(wish("jib", IfAbsent)),
                settled(Some("jib"), Some(owned("jib", None, IfAbsent))),
                "it moves",
            ),
        ],
    );
    each(
        Terms { was: Yield, is: Yield, ..terms },
        vec![
            (ours(), None, asked(), settled(None, Some(Entry::Yielded)), "a hand wants none"),
            (ours(), Some("eu-1"), asked(), settled(Some("eu-1"), Some(Entry::Yielded)), "or another"),
            (Some(Entry::Yielded), None, asked(), settled(None, Some(Entry::Yielded)), "it stays so"),
        ],
    );
}

fn value() -> impl Strategy<Value = String> {
    select(vec!["0", "1", "2", ""]).prop_map(str::to_owned)
}

fn placing() -> impl Strategy<Value = Placing> {
    select(vec![Always, Once, IfAbsent])
}

fn entry() -> impl Strategy<Value = Option<Entry>> {
    let owned = (value(), option::of(value()), placing()).prop_map(|(set, replaced, placing)| {
        // What is put only where nothing is has replaced nothing.
        let replaced = replaced.filter(|_| placing != IfAbsent);
        Entry::Owned(Owned { set, replaced, placing })
    });
    option::of(prop_oneof![4 => owned, 1 => Just(Entry::Yielded)])
}

fn terms() -> impl Strategy<Value = Terms> {
    let policy = || select(vec![Enforce, Yield]);
    (policy(), policy(), select(vec![Joins, Stays])).prop_map(|(was, is, arrival)| Terms { was, is, arrival })
}

fn wishes() -> impl Strategy<Value = Option<Wish>> {
    option::of((value(), placing()).prop_map(|(value, placing)| Wish { value, placing }))
}

fn again(settled: &Settled, wish: Option<&Wish>, is: ConflictPolicy, arrival: Arrival) -> Settled {
    settle(settled.entry.as_ref(), settled.value.as_deref(), wish, Terms { was: is, is, arrival })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rule nodepool-8.
    #[test]
    fn one_pass_is_enough(entry in entry(), live in option::of(value()), wish in wishes(), terms in terms()) {
        let first = settle(entry.as_ref(), live.as_deref(), wish.as_ref(), terms);
        prop_assert_eq!(&again(&first, wish.as_ref(), terms.is, Stays), &first);
    }

    // Rule nodepool-9.
    #[test]
    fn what_joins_and_leaves_is_as_it_was(live in option::of(value()), wish in wishes(), terms in terms()) {
        let member = settle(None, live.as_deref(), wish.as_ref(), Terms { arrival: Joins, ..terms });
        prop_assert_eq!(again(&member, None, terms.is, Stays), Settled { value: live, entry: None });
    }

    // Rule nodepool-4.
    #[test]
    fn a_move_is_a_leave_and_a_join(entry in entry(), live in option::of(value()), wish in wishes(), terms in terms()) {
        let terms = Terms { arrival: Joins, ..terms };
        let moved = settle(entry.as_ref(), live.as_deref(), wish.as_ref(), terms);
        let left = settle(entry.as_ref(), live.as_deref(), None, terms);
        prop_assert_eq!(again(&left, wish.as_ref(), terms.is, Joins), moved);
    }

    // Rule nodepool-3.
    #[test]
    fn the_base_is_what_a_leave_gives_back(entry in entry(), live in option::of(value()), terms in terms()) {
        let left = settle(entry.as_ref(), live.as_deref(), None, terms);
        prop_assert_eq!(base(entry.as_ref(), live.as_deref(), terms.was), left.value.as_deref());
        prop_assert_eq!(left.entry, None);
    }
}
