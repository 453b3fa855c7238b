use proptest::prelude::*;

use super::{Amount, Sums};

fn read(text: &str) -> Option<String> {
    Amount::read(text).map(Amount::text)
}

fn sum(parts: &[&str]) -> Option<String> {
    let mut sums = Sums::default();
    for part in parts {
        sums.add([("memory", *part)].into_iter());
    }
    sums.first(1).remove("memory").map(|sum| sum.0)
}

// Rule nodepool-38.
#[test]
fn a_quantity_is_written_as_kubernetes_writes_it() {
    for (text, expected) in [
        ("0", "0"),
        ("0Ki", "0"),
        ("8", "8"),
        ("+8", "8"),
        ("-8", "-8"),
        ("8000m", "8"),
        ("7910m", "7910m"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1023", "1023"),
        ("0.5Ki", "512"),
        ("0.9765625Ki", "1k"),
        ("1Ki", "1Ki"),
        ("-1Ki", "-1Ki"),
        ("1e0", "1"),
        ("1.0001Ki", "1024102400u"),
        ("1e3", "1k"),
        ("1E3", "1k"),
        ("12e-3", "12m"),
        ("1E", "1E"),
        ("2Ei", "2Ei"),
        ("3P", "3P"),
        ("3T", "3T"),
        ("3G", "3G"),
        ("3M", "3M"),
        ("3k", "3k"),
        ("3u", "3u"),
        ("3n", "3n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("9223372036854775807", "9223372036854775807"),
    ] {
        assert_eq!(read(text).as_deref(), Some(expected), "{text}");
    }
}

// Rule nodepool-38.
#[test]
fn each_suffix_is_so_many_of_the_next() {
    let decimal = ["E", "P", "T", "G", "M", "k", "", "m", "u", "n"];
    let binary = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki", ""];
    for (suffixes, many) in [(&decimal[..], 1000), (&binary, 1024)] {
        for pair in suffixes.windows(2) {
            let difference = [format!("3{}", pair[0]), format!("-{}{}", 3 * many, pair[1])];
            assert_eq!(
                sum(&difference.each_ref().map(String::as_str)).as_deref(),
                Some("0"),
                "{difference:?}"
            );
        }
    }
}

// Rule nodepool-38.
#[test]
fn what_is_no_quantity_has_no_sum() {
    for text in [
        "", "Ki", ".", "1KiB", "1 Ki", "one", "1..2", "1.2.3", "--1", "+-1", "1e", "1ex", "1e99", "1e-99",
        "1e-10", "\u{663}",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
    let largest = "170141183460469231731687303715";
    assert_eq!(sum(&[largest]).as_deref(), Some(largest));
    assert_eq!(sum(&[largest, largest]), None, "too large to be told is better than wrong");
    assert_eq!(sum(&["1", "what", "1"]), None, "a part that is unknown leaves the sum unknown");
}

// Rule nodepool-38.
#[test]
fn a_sum_is_written_like_its_first_part_that_is_not_nothing() {
    for (parts, expected) in [
        (&["1Gi", "500m"][..], "1073741824500m"),
        (&["500m", "1Gi"], "1073741824500m"),
        (&["0", "1Gi", "1000"], "1073742824"),
        (&["1Gi", "1Gi"], "2Gi"),
        (&["1Mi", "1k"], "1049576"),
        (&["1k", "1Ki"], "2024"),
        (&["1024k", "1Ki"], "1025024"),
        (&["1Ki", "1024"], "2Ki"),
        (&["16384256Ki", "1Ki"], "16384257Ki"),
        (&["9007199254740993", "0"], "9007199254740993"),
        (&["0", "0"], "0"),
    ] {
        assert_eq!(sum(parts).as_deref(), Some(expected), "{parts:?}");
    }
}

// Rule nodepool-38.
#[test]
fn the_resources_of_kubernetes_come_first() {
    let mut sums = Sums::default();
    sums.add([("a.example/gpu", "1"), ("memory", "2"), ("cpu", "3"), ("pods", "4")].into_iter());
    let first = |limit| sums.first(limit).into_keys().collect::<Vec<_>>();
    assert_eq!(first(3), ["cpu", "memory", "pods"]);
    assert_eq!(first(4), ["a.example/gpu", "cpu", "memory", "pods"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rule nodepool-38.
    #[test]
    fn sums_are_exact(numbers in prop::collection::vec((any::<i32>(), 0_usize..6), 1..20)) {
        let units = [("m", 1), ("", 1_000), ("k", 1_000_000), ("Ki", 1_024_000), ("Mi", 1_048_576_000), ("G", 1_000_000_000_000_i128)];
        let texts: Vec<String> = numbers.iter().map(|(number, unit)| format!("{number}{}", units[*unit].0)).collect();
        let thousandths: i128 = numbers.iter().map(|(number, unit)| i128::from(*number) * units[*unit].1).sum();
        let total = sum(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(Amount::read(&total).unwrap().billionths, thousandths * 1_000_000);
    }
}
