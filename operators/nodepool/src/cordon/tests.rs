use proptest::{option, prelude::*, sample::select};
use stowage_api::node_pool::ConflictPolicy::{Enforce, Yield};

use super::{Cordon, CordonEntries, CordonWish};
use crate::{
    ledger::{Entry, Ledger, Owned, Placing},
    settle::{
        Arrival::{self, Joins, Stays},
        Terms,
    },
};

fn owned(placing: Placing) -> impl Strategy<Value = Entry> {
    is_cordoned().prop_map(move |replaced| {
        Entry::Owned(Owned { set: "true".to_owned(), replaced: replaced.map(str::to_owned), placing })
    })
}

fn is_cordoned() -> impl Strategy<Value = Option<&'static str>> {
    select(vec![None, Some("true")])
}

fn entries() -> impl Strategy<Value = CordonEntries> {
    let above = option::of(prop_oneof![4 => owned(Placing::Always), 1 => Just(Entry::Yielded)]);
    (above, option::of(owned(Placing::Once))).prop_map(|(above, beneath)| CordonEntries { above, beneath })
}

fn wish() -> impl Strategy<Value = CordonWish> {
    (any::<bool>(), any::<bool>(), select(vec![Enforce, Yield]))
        .prop_map(|(on_join, always, policy)| CordonWish { on_join, always, policy })
}

/// `is` is that of the wish.
fn terms() -> impl Strategy<Value = Terms> {
    (select(vec![Enforce, Yield]), select(vec![Joins, Stays])).prop_map(|(was, arrival)| Terms {
        was,
        is: Enforce,
        arrival,
    })
}

fn again(cordon: &Cordon, wish: CordonWish, was: CordonWish, arrival: Arrival) -> Cordon {
    let terms = Terms { was: was.policy, is: wish.policy, arrival };
    Cordon::settle(cordon.entries.clone(), cordon.value.as_deref(), wish, terms)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rules nodepool-8 and nodepool-27.
    #[test]
    fn one_pass_is_enough(before in entries(), live in is_cordoned(), wish in wish(), terms in terms()) {
        let first = Cordon::settle(before, live, wish, terms);
        prop_assert_eq!(&again(&first, wish, wish, Stays), &first);
        let ledger = first.entries.clone().written_to(Ledger::default());
        prop_assert_eq!(CordonEntries::of(&ledger), first.entries);
    }

    // Rule nodepool-9.
    #[test]
    fn what_joins_and_leaves_is_as_it_was(live in is_cordoned(), wish in wish(), terms in terms()) {
        let terms = Terms { arrival: Joins, ..terms };
        let member = Cordon::settle(CordonEntries::default(), live, wish, terms);
        let left = again(&member, CordonWish::default(), wish, Stays);
        prop_assert_eq!(left.value.as_deref(), live);
        prop_assert_eq!(left.entries, CordonEntries::default());
    }

    // Rule nodepool-4.
    #[test]
    fn a_move_is_a_leave_and_a_join(before in entries(), live in is_cordoned(), wish in wish(), terms in terms()) {
        let terms = Terms { arrival: Joins, ..terms };
        let moved = Cordon::settle(before.clone(), live, wish, terms);
        let left = Cordon::settle(before, live, CordonWish::default(), terms);
        prop_assert_eq!(again(&left, wish, wish, Joins), moved);
    }

    // Rule nodepool-30.
    #[test]
    fn what_is_asked_for_is_there(before in entries(), live in is_cordoned(), wish in wish(), terms in terms()) {
        let wish = CordonWish { always: true, policy: Enforce, ..wish };
        let cordon = Cordon::settle(before, live, wish, terms);
        prop_assert_eq!(cordon.value.as_deref(), Some("true"));
    }
}
