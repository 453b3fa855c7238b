use std::time;

use super::{Duration, Quantity, Size, Threshold};
use crate::{Syntax, Sysctl};

// Rule api-18.
#[test]
fn a_duration_is_the_sum_of_its_numbers() {
    for (text, expected) in [
        ("0s", 0),
        ("1ms", 1),
        ("1s", 1_000),
        ("15m", 900_000),
        ("1h", 3_600_000),
        ("1h30m5s7ms", 5_405_007),
        ("7ms1h", 3_600_007),
        ("30s30s", 60_000),
        ("99999h99999h99999h99999h", 1_439_985_600_000),
    ] {
        let duration = Duration::try_new(text).map(Duration::get);
        assert_eq!(duration, Ok(time::Duration::from_millis(expected)), "{text}");
    }
}

// Rule api-18.
#[test]
fn what_is_no_duration_is_refused() {
    for (text, because) in [
        ("", "nothing"),
        ("5", "no unit"),
        ("m", "no number"),
        ("m5", "the unit first"),
        ("5m5", "a number without a unit"),
        ("m5m5", "as many units as numbers, but before them"),
        ("1.5h", "a fraction"),
        ("5d", "no such unit"),
        ("100000s", "six digits"),
        ("1h1h1h1h1h", "five numbers"),
    ] {
        assert_eq!(Duration::try_new(text), Err(Syntax::Duration), "{because}: {text}");
    }
}

// Rule api-19.
#[test]
fn a_quantity_is_a_number_with_a_suffix_of_kubernetes() {
    let longest = "1".repeat(32);
    for (text, expected, because) in [
        ("0", true, "nothing at all"),
        ("0.5", true, "a fraction"),
        ("512Mi", true, "binary"),
        ("100m", true, "thousandths"),
        (&longest, true, "32 digits"),
        ("", false, "nothing"),
        (".5", false, "no number before the point"),
        ("5.", false, "no number after the point"),
        ("Mi", false, "a suffix alone"),
        ("-1", false, "less than nothing"),
        ("1e3", false, "an exponent"),
        ("10MB", false, "no such suffix"),
        ("5%", false, "a percentage"),
        (&format!("{longest}1"), false, "33 digits"),
    ] {
        assert_eq!(Quantity::try_new(text).is_ok(), expected, "{because}: {text}");
    }
}

// Rule api-19.
#[test]
fn a_size_is_a_whole_number_of_bytes() {
    for (text, expected, because) in [
        ("10Mi", true, "binary"),
        ("99999Gi", true, "the largest of them"),
        ("10M", true, "decimal"),
        ("10485760", true, "without a suffix"),
        ("999999999999999", true, "15 digits"),
        ("10m", false, "thousandths"),
        ("0.5", false, "half a byte"),
        ("1.5Gi", false, "the kubelet takes no fraction, whatever comes of it"),
        ("1Pi", false, "the kubelet cannot count so far"),
        ("100000Gi", false, "nor so far"),
        ("1000000000000000", false, "16 digits"),
        ("Mi", false, "a suffix alone"),
        ("", false, "nothing"),
        ("10MB", false, "no such suffix"),
        ("5%", false, "a percentage"),
    ] {
        assert_eq!(Size::try_new(text).is_ok(), expected, "{because}: {text}");
    }
}

// Rule api-19.
#[test]
fn a_threshold_may_be_a_percentage() {
    for (text, expected, because) in [
        ("0", false, "the kubelet takes none that is not positive"),
        ("0.00Mi", false, "nor this"),
        ("0.01", true, "it is more than nothing"),
        ("100Mi", true, "zeros behind another digit"),
        ("0.0%", true, "switched off as well"),
        ("200Mi", true, "a quantity"),
        ("0%", true, "switched off"),
        ("99.9%", true, "a fraction"),
        ("100%", false, "a node that is always full"),
        ("%", false, "no number"),
        ("5Mi%", false, "both"),
        (&format!("9.{}%", "9".repeat(29)), true, "32 characters"),
        (&format!("9.{}%", "9".repeat(30)), false, "33 characters"),
    ] {
        assert_eq!(Threshold::try_new(text).is_ok(), expected, "{because}: {text}");
    }
}

// Rule api-19.
#[test]
fn a_sysctl_is_one_that_a_pod_can_have_for_itself() {
    let longest = format!("net.{}", "a".repeat(249));
    for (text, expected, because) in [
        ("kernel.sem", true, "by its whole name"),
        ("kernel.shm_rmid_forced", true, "shared memory"),
        ("kernel.shm*", true, "all of them"),
        ("kernel.msg_*", true, "a sign before the star"),
        ("fs.mqueue.msg_max", true, "message queues"),
        ("net.*", true, "the whole network"),
        ("net.ipv4.conf.eth0.mtu-probing", true, "every class of character"),
        (&longest, true, "253 characters"),
        (&format!("{longest}a"), false, "254 characters"),
        ("kernel.sem*", false, "nothing else begins so"),
        ("kernel.*", false, "some of them are the node's"),
        ("vm.swappiness", false, "the node's"),
        ("net/core/somaxconn", false, "slashes"),
        ("net..a", false, "an empty part"),
        ("net.-a", false, "a sign first"),
        ("net.a-", false, "a sign last"),
        ("net.-*", false, "a sign first"),
        ("net.A", false, "upper case"),
        ("net.a*b", false, "a star within"),
        ("net.a**", false, "two stars"),
        ("net.*.a", false, "a star before the last part"),
    ] {
        assert_eq!(Sysctl::try_new(text).is_ok(), expected, "{because}: {text}");
    }
}
