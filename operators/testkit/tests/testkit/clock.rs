//! Time as a test moves it.

use std::time::Duration;

use jiff::SignedDuration;
use stowage_runtime::Clock;
use stowage_testkit::MovingClock;

// Rule testkit-12.
#[tokio::test(start_paused = true)]
async fn the_clock_stands_still_until_the_test_moves_it() {
    let clock = MovingClock::new();
    assert_eq!((clock.now(), clock.elapsed()), (MovingClock::START, Duration::ZERO));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(clock.now(), MovingClock::START);
    tokio::time::advance(Duration::from_millis(90_500)).await;
    assert_eq!(clock.now(), MovingClock::START + SignedDuration::from_millis(90_500));
}

// Rule testkit-12.
#[tokio::test(start_paused = true)]
async fn a_later_clock_starts_at_the_same_moment() {
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(MovingClock::new().now(), MovingClock::START);
}
