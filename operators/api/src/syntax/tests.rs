use super::{LabelKey, LabelValue, NodeName, Syntax};

// Rule api-13.
#[test]
fn a_label_key_is_a_name_with_an_optional_dns_prefix() {
    let (longest, too_long) = ("n".repeat(63), "n".repeat(64));
    // Kubernetes limits the whole prefix, not each part of it.
    let (longest_prefix, too_long_prefix) = ("p".repeat(253), "p".repeat(254));
    for (key, expected, because) in [
        ("a", Ok(()), "one character is both ends"),
        ("A-b_c.9", Ok(()), "every class of character"),
        ("example.com/a", Ok(()), "with a prefix"),
        (&longest, Ok(()), "63 characters"),
        (&format!("{longest_prefix}/{longest}"), Ok(()), "253 and 63 characters"),
        ("", Err(Syntax::Name), "nothing"),
        ("-a", Err(Syntax::Name), "a sign first"),
        ("a.", Err(Syntax::Name), "a sign last"),
        ("a b", Err(Syntax::Name), "a space"),
        ("\u{e4}", Err(Syntax::Name), "a letter beyond ASCII"),
        (&too_long, Err(Syntax::Name), "64 characters"),
        ("example.com/", Err(Syntax::Name), "a prefix alone"),
        ("a/b/c", Err(Syntax::Name), "two slashes"),
        ("/a", Err(Syntax::Subdomain), "an empty prefix"),
        ("Example.com/a", Err(Syntax::Subdomain), "upper case in a prefix"),
        ("a..b/c", Err(Syntax::Subdomain), "an empty part of a prefix"),
        ("a_b/c", Err(Syntax::Subdomain), "an underscore in a prefix"),
        (&format!("{too_long_prefix}/a"), Err(Syntax::Subdomain), "254 characters"),
    ] {
        assert_eq!(LabelKey::try_new(key).map(drop), expected, "{because}: {key}");
    }
}

// Rule api-13.
#[test]
fn a_label_value_may_be_empty() {
    for (value, expected, because) in [
        ("", Ok(()), "nothing"),
        ("a.b_c-D", Ok(()), "every class of character"),
        ("a/b", Err(Syntax::Name), "a slash"),
        ("a-", Err(Syntax::Name), "a sign last"),
        (&"v".repeat(64), Err(Syntax::Name), "64 characters"),
    ] {
        assert_eq!(LabelValue::try_new(value).map(drop), expected, "{because}: {value}");
    }
}

// Rule api-13.
#[test]
fn the_name_of_a_node_is_a_dns_subdomain() {
    for (name, expected, because) in [
        ("quay-1.example.com", Ok(()), "dots and signs"),
        ("Quay-1", Err(Syntax::Subdomain), "upper case"),
        ("quay-1.", Err(Syntax::Subdomain), "an empty last part"),
        ("", Err(Syntax::Subdomain), "nothing"),
    ] {
        assert_eq!(NodeName::try_new(name).map(drop), expected, "{because}: {name}");
    }
}
