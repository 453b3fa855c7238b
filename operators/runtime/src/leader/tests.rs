//! The election as a whole.

mod simulation;

use futures::FutureExt;
use tokio::sync::watch;

use super::*;

// Rule runtime-32.
#[tokio::test]
async fn after_the_death_of_whoever_would_tell_no_term_begins() {
    let (terms, told) = watch::channel(Some(Term { since: clock::instant() }));
    let mut leadership = Leadership(told);
    let term = leadership.begun().await;
    drop(terms);
    assert_eq!(leadership.ended(term).now_or_never(), Some(()));
    assert_eq!(leadership.begun().now_or_never(), None, "its last word would begin the term again, for ever");
}
