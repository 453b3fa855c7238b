//! The rules of the rooms and the tests that cite them.
//!
//! In docs/designs a line that starts with `**room-N**` begins a rule; a test that breaks when the rule is broken says so
//! in a line comment, `// Rule room-N.` or `// Rules room-N and room-M.`

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Rules that no test cites, rules that stand twice, and citations of what is no rule or by what is no test.
pub(crate) fn check(designs: &[Source], sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut rules = BTreeMap::new();
    for (rule, place) in designs.iter().flat_map(declared) {
        if let Some(first) = rules.insert(rule, place.clone()) {
            findings.push(format!("{place}: rule {rule} stands at {first} already"));
        }
    }
    let mut cited = BTreeSet::new();
    for source in sources {
        let (code, tests) = source.parts();
        for (rule, line) in citations(code) {
            findings.push(format!("{}:{line}: rule {rule} is cited outside of tests", source.path));
        }
        let before = code.lines().count();
        for (rule, line) in citations(tests) {
            if !rules.contains_key(rule) {
                let line = before + line;
                findings.push(format!("{}:{line}: rule {rule} does not exist", source.path));
            }
            cited.insert(rule);
        }
    }
    let uncited = rules.iter().filter(|(rule, _)| !cited.contains(*rule));
    findings.extend(uncited.map(|(rule, place)| format!("{place}: no test cites rule {rule}")));
    findings
}

/// The rules of one document, each with its place.
fn declared(design: &Source) -> impl Iterator<Item = (&str, String)> {
    design.text.lines().enumerate().filter_map(|(index, line)| {
        let (rule, _) = line.strip_prefix("**")?.split_once("**")?;
        is_rule(rule).then(|| (rule, format!("{}:{}", design.path, index + 1)))
    })
}

/// The rules that comments of a text cite, each with the number of its line.
fn citations(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        let line = line.trim_start();
        let cited = line.strip_prefix("// Rule ").or_else(|| line.strip_prefix("// Rules "));
        let words = cited.unwrap_or_default().split_ascii_whitespace();
        let names = words.map(|word| word.trim_end_matches(['.', ',', ':', ';']));
        // Whatever looks like a rule is one: with a slip in its form it must be found wrong, not pass for prose.
        names
            .filter(|name| name.contains(|character: char| character.is_ascii_digit()))
            .map(move |name| (name, index + 1))
    })
}

/// `room-N`, where the room may itself have dashes.
fn is_rule(word: &str) -> bool {
    let legal = |room: &str| {
        let of_a_name = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
        };
        room.starts_with(|first: char| first.is_ascii_lowercase()) && room.chars().all(of_a_name)
    };
    word.rsplit_once('-').is_some_and(|(room, number)| legal(room) && number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESIGN: &str =
        "# The moon\n\n**moon-1** It waxes,\nand **moon-3** is no rule here.\n**moon-2** It wanes.\n";

    fn found(design: &str, path: &str, code: &str) -> Vec<String> {
        let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
        check(&[source("docs/designs/moon.md", design)], &[source(path, code)])
    }

    #[test]
    fn a_rule_begins_a_line_with_its_name() {
        for cited in ["    // Rule moon-1.\n    // Rule moon-2.\n", "// Rules moon-1 and moon-2.\n"] {
            assert_eq!(found(DESIGN, "moon/tests/a.rs", cited), Vec::<String>::new());
        }
    }

    // Rule xtask-7.
    #[test]
    fn each_rule_without_a_test_is_named_with_its_place() {
        let said = found(DESIGN, "moon/tests/a.rs", "// Rule moon-2.\n");
        assert_eq!(said, ["docs/designs/moon.md:3: no test cites rule moon-1"]);
    }

    // Rule xtask-7.
    #[test]
    fn a_rule_that_does_not_exist_cannot_be_cited() {
        for citation in ["// Rule moon-4.", "// Rule moon4.", "// Rule Moon-1."] {
            let code = format!("#[test]\nfn a() {{}}\n// Rule moon-1.\n// Rule moon-2.\n{citation}\n");
            let said = found(DESIGN, "moon/tests/a.rs", &code);
            assert_eq!(said.len(), 1, "{citation}: {said:?}");
            assert!(
                said[0].starts_with("moon/tests/a.rs:5: ") && said[0].ends_with("does not exist"),
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_line_is_counted_from_the_start_of_the_file() {
        let code = "one\n#[cfg(test)]\nmod tests {\n    // Rule SUN-1.\n}\n";
        assert_eq!(found("", "moon/src/a.rs", code), ["moon/src/a.rs:4: rule SUN-1 does not exist"]);
    }

    #[test]
    fn code_that_cites_a_rule_does_not_test_it() {
        let code = "// Rule moon-1.\n#[cfg(test)]\nmod tests {\n    // Rule moon-2.\n}\n";
        let wanted = [
            "moon/src/a.rs:1: rule moon-1 is cited outside of tests",
            "docs/designs/moon.md:3: no test cites rule moon-1",
        ];
        assert_eq!(found(DESIGN, "moon/src/a.rs", code), wanted);
    }

    #[test]
    fn prose_may_begin_with_the_word() {
        let code = "// Rule moon-1.\n// Rule moon-2.\n// Rule of thumb: look up.\n";
        assert_eq!(found(DESIGN, "moon/tests/a.rs", code), Vec::<String>::new());
    }

    #[test]
    fn a_rule_stands_once() {
        let twice = format!("{DESIGN}\n**moon-1** again\n");
        let said = found(&twice, "moon/tests/a.rs", "// Rule moon-1.\n// Rule moon-2.\n");
        assert_eq!(said, ["docs/designs/moon.md:7: rule moon-1 stands at docs/designs/moon.md:3 already"]);
    }
}
