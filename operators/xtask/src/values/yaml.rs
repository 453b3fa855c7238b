//! values.yaml: every default, with what it is for.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Configuration,
    walk::{Content, Entry, entries},
};

/// What marks the file, and says how to change it.
const MARK: &str = "\
# Generated from operators/xtask/src/values.rs by `cargo xtask chart`: change that and run it again.
# Every value is checked against values.schema.json; an unknown one is refused.
";

/// The width of a comment.
const COLUMNS: usize = 116;

/// values.yaml as the file has it.
pub(crate) fn yaml(configuration: &Configuration) -> Result<String> {
    let blocks = entries(configuration)?.iter().map(block).collect::<Result<Vec<_>>>()?;
    Ok(format!("{MARK}{}", blocks.concat()))
}

fn block(entry: &Entry) -> Result<String> {
    let mut lines = wrapped(&entry.description, COLUMNS.saturating_sub(2 * entry.depth()));
    match &entry.content {
        Content::Group => lines.push(format!("{}:", entry.name())),
        Content::Leaf { default, .. } => lines.push(leaf(entry.name(), default)?),
    }
    let indent = "  ".repeat(entry.depth());
    let lines = lines.iter().flat_map(|text| text.lines()).map(|line| format!("{indent}{line}"));
    let text = lines.collect::<Vec<_>>().join("\n");
    // A group of the top level stands apart from the one before it.
    let gap = if entry.depth() == 0 { "\n" } else { "" };
    Ok(format!("{gap}{text}\n"))
}

fn leaf(name: &str, default: &Value) -> Result<String> {
    let text = serde_saphyr::to_string(&json!({ name: default }));
    text.with_context(|| format!("cannot write the default of {name}"))
}

/// A text as comments of at most this many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{schema::tree, walk::defaults};

    /// As it was when the chart was generated.
    fn configuration() -> Configuration {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/stowage/generated");
        Configuration::read(folder.as_ref()).unwrap()
    }

    // Rule xtask-12.
    #[test]
    fn the_file_reads_as_the_defaults() {
        let read: Value = serde_saphyr::from_str(&yaml(&configuration()).unwrap()).unwrap();
        assert_eq!(read, defaults(&configuration()).unwrap());
    }

    // Rule xtask-12.
    #[test]
    fn every_value_is_explained() {
        let mute: Vec<_> = entries(&configuration())
            .unwrap()
            .into_iter()
            .filter(|entry| entry.description.is_empty())
            .collect();
        assert_eq!(mute, []);
    }

    // Rule xtask-12.
    #[test]
    fn an_object_of_the_schema_names_its_keys_or_is_a_map_of_one_type() {
        fn open(schema: &Value, path: &str, found: &mut Vec<String>) {
            let object = schema.get("type") == Some(&json!("object"));
            let closed = schema["additionalProperties"] == json!(false) && schema["properties"].is_object();
            if object && !closed && !schema["additionalProperties"].is_object() {
                found.push(path.to_owned());
            }
            let parts = schema.as_object().into_iter().flatten();
            parts.for_each(|(name, part)| open(part, &format!("{path}/{name}"), found));
        }
        let mut found = Vec::new();
        open(&tree(&configuration()).unwrap(), "", &mut found);
        // What a parent chart sets is none of ours.
        assert_eq!(found, ["/properties/global"]);
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 9), ["# one two", "# three"]);
        assert_eq!(wrapped("one", 2), ["# one"]);
    }
}
