//! A file of ours, and what holds for each by itself.

/// Non-blank lines outside tests that one file may have.
const LINES: usize = 400;

/// A file's path from the workspace's root, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The text before the tests, and the tests: a `#[cfg(test)] mod tests` at the end, or a whole file of tests.
    pub(crate) fn parts(&self) -> (&str, &str) {
        if self.is_test_file() {
            return ("", &self.text);
        }
        self.text.split_at(self.start_of_tests())
    }

    /// Says so where the file is too long.
    pub(crate) fn oversize(&self) -> Option<String> {
        let lines = self.parts().0.lines().filter(|line| !line.trim().is_empty()).count();
        (lines > LINES).then(|| {
            format!("{}: {lines} non-blank lines outside tests, at most {LINES}: split it by idea", self.path)
        })
    }

    /// The attributes that switch a lint off: `expect` says when it is no longer needed, `allow` never does.
    pub(crate) fn allows(&self) -> Vec<String> {
        let is_allow = |line: &str| {
            let line = line.trim_start();
            // The second form is what rustfmt makes of a `cfg_attr` that does not fit into a line.
            (is_attribute(line) && has_call(line, "allow")) || line.starts_with("allow(")
        };
        let lines = self.text.lines().enumerate().filter(|(_, line)| is_allow(line));
        lines
            .map(|(index, _)| format!("{}:{}: `allow`: use `expect` with a reason", self.path, index + 1))
            .collect()
    }

    fn is_test_file(&self) -> bool {
        let mut parts = self.path.rsplit('/');
        parts.next() == Some("tests.rs") || parts.any(|folder| folder == "tests")
    }

    /// Where the module of tests begins, as an offset; the end of the text where there is none.
    fn start_of_tests(&self) -> usize {
        let mut marked = None;
        let mut offset = 0;
        for line in self.text.split_inclusive('\n') {
            let trimmed = line.trim_end();
            if trimmed == "#[cfg(test)]" {
                marked = Some(offset);
            } else if trimmed == "mod tests {" {
                return marked.unwrap_or(offset);
            } else if !is_attribute(trimmed) {
                marked = None;
            }
            offset += line.len();
        }
        self.text.len()
    }
}

fn is_attribute(line: &str) -> bool {
    line.starts_with("#[") || line.starts_with("#![")
}

/// Whether `name(` stands in `line` as a word of its own.
fn has_call(line: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(&format!("{name}("))
        .any(|(at, _)| !line.get(..at).is_some_and(|before| before.ends_with(is_word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: impl Into<String>) -> Source {
        Source { path: path.to_owned(), text: text.into() }
    }

    #[test]
    fn the_tests_of_a_file_begin_at_their_attributes() {
        let file =
            source("x/src/a.rs", "one\n#[cfg(test)]\nuse x;\n#[cfg(test)]\n#[expect(y)]\nmod tests {\n}\n");
        assert_eq!(
            file.parts(),
            ("one\n#[cfg(test)]\nuse x;\n", "#[cfg(test)]\n#[expect(y)]\nmod tests {\n}\n")
        );
    }

    #[test]
    fn a_module_of_tests_in_another_file_ends_nothing() {
        let file = source("x/src/a.rs", "#[cfg(test)]\nmod tests;\nmore\n");
        assert_eq!(file.parts().1, "");
    }

    #[test]
    fn an_attribute_of_another_item_does_not_belong_to_the_tests() {
        let file = source("x/src/a.rs", "#[cfg(test)]\nuse x;\nmod tests {\n}\n");
        assert_eq!(file.parts().0, "#[cfg(test)]\nuse x;\n");
    }

    #[test]
    fn files_of_tests_are_tests_from_the_start() {
        for (path, is_test) in [
            ("x/src/a/tests.rs", true),
            ("x/tests/a.rs", true),
            ("x/tests/a/b.rs", true),
            ("x/src/contests.rs", false),
            ("x/src/tests_of_time.rs", false),
        ] {
            assert_eq!(source(path, "one\n").parts().0.is_empty(), is_test, "{path}");
        }
    }

    // Rule xtask-8.
    #[test]
    fn only_lines_with_something_on_them_outside_tests_count() {
        let tail = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x\n".repeat(500));
        let file = |lines| source("x/src/a.rs", "x\n\n".repeat(lines) + &tail);
        assert_eq!(file(400).oversize(), None);
        let said = file(401).oversize().unwrap();
        assert!(said.starts_with("x/src/a.rs: 401 "), "{said}");
    }

    // Rule xtask-8.
    #[test]
    fn an_allow_is_found_in_each_of_its_forms() {
        for (line, found) in [
            ("#[allow(dead_code)]", true),
            ("    #![allow(dead_code)]", true),
            ("#[cfg_attr(test, allow(dead_code))]", true),
            ("    allow(dead_code),", true),
            ("#[expect(dead_code, reason = \"x\")]", false),
            ("#[disallow(x)]", false),
            ("let text = \"#[allow(x)]\";", false),
        ] {
            let said = source("x/src/a.rs", format!("one\n{line}\n")).allows();
            assert_eq!(said.len(), usize::from(found), "{line}");
            assert!(said.iter().all(|said| said.starts_with("x/src/a.rs:2: ")), "{said:?}");
        }
    }
}
