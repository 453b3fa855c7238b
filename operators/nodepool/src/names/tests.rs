use super::Names;

fn names(all: &[String]) -> Names {
    let mut names = Names::default();
    for name in all {
        names.push(name);
    }
    names
}

// Rule nodepool-22.
#[test]
fn names_are_few_and_short_together() {
    let of_length = |count: usize, length: usize| -> Vec<String> {
        (0..count).map(|index| format!("{index:0length$}")).collect()
    };
    for (all, shown, because) in [
        (of_length(0, 1), 0, "none"),
        (of_length(10, 5), 10, "ten fit"),
        (of_length(11, 5), 10, "eleven are too many"),
        (of_length(10, 64), 4, "four of them are 256 bytes"),
        (of_length(3, 253), 1, "the longest name fits once"),
        (
            vec!["a".to_owned(), "b".repeat(253), "c".repeat(253), "d".to_owned()],
            2,
            "no gap: d is not shown without c",
        ),
    ] {
        let names = names(&all);
        assert_eq!((names.count(), names.first()), (all.len(), &all[..shown]), "{because}");
    }
}

// Rule nodepool-22.
#[test]
fn a_name_without_room_for_it_is_cut() {
    // A pod has the name of its namespace before its own.
    let pods = [format!("shop/{}", "w".repeat(253)), "shop/web".to_owned()];
    let expected = format!("shop/{}...", "w".repeat(248));
    assert_eq!(names(&pods).to_string(), format!("{expected} and 1 more"));
    let wide = ["\u{20ac}".repeat(90)];
    assert_eq!(names(&wide).to_string(), format!("{}...", "\u{20ac}".repeat(84)), "no part of a sign");
    assert_eq!(names(&["w".repeat(256)]).to_string(), "w".repeat(256), "as long as can be");
}

#[test]
fn things_are_counted_as_people_do() {
    let counted = [0, 1, 2].map(|count: usize| super::counted(count, "node"));
    assert_eq!(counted, ["0 nodes", "1 node", "2 nodes"]);
}

#[test]
fn the_rest_is_counted() {
    let all: Vec<String> = (0..12).map(|index| index.to_string()).collect();
    assert_eq!(names(&all[..2]).to_string(), "0, 1");
    assert_eq!(names(&all).to_string(), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
}
