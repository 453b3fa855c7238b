//! Every value with what is said about it, in the order of the alphabet.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Configuration, Values,
    schema::{KUBERNETES, properties, resolve, tree},
};

/// A value, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As `helm --set` takes it.
    pub(super) path: String,
    /// What it is for.
    pub(super) description: String,
    /// What it holds.
    pub(super) content: Content,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Values below it.
    Group,
    /// A value: its type and limits in words, and its default.
    Leaf { facts: Vec<String>, default: Value },
}

impl Entry {
    /// How many groups it is in.
    pub(super) fn depth(&self) -> usize {
        self.path.matches('.').count()
    }

    /// Its name in its group.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

/// Every entry, a group before what is in it.
pub(super) fn entries(configuration: &Configuration) -> Result<Vec<Entry>> {
    let root = tree(configuration)?;
    let defaults = defaults(configuration)?;
    let mut entries = Vec::new();
    below(&root, &root, &defaults, "", &mut entries);
    Ok(entries)
}

/// The path of every group.
pub(crate) fn groups(configuration: &Configuration) -> Result<Vec<String>> {
    let groups = entries(configuration)?.into_iter().filter(|entry| entry.content == Content::Group);
    Ok(groups.map(|group| group.path).collect())
}

/// The default of every value.
pub(super) fn defaults(configuration: &Configuration) -> Result<Value> {
    let values = Values { config: configuration.defaults(), ..Values::default() };
    serde_json::to_value(values).context("cannot read the defaults")
}

fn below(root: &Value, schema: &Value, defaults: &Value, path: &str, entries: &mut Vec<Entry>) {
    for (name, property) in properties(schema).into_iter().flatten() {
        // `global` is Helm's, and has no default.
        let Some(default) = defaults.get(name) else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let (reference, resolved) = resolve(root, property);
        let said = [property, resolved].into_iter().find_map(|schema| schema.get("description")?.as_str());
        let description = said.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let foreign = reference.is_some_and(|name| name.starts_with(KUBERNETES));
        if properties(resolved).is_some() && !foreign {
            entries.push(Entry { path: path.clone(), description, content: Content::Group });
            below(root, resolved, default, &path, entries);
        } else {
            let facts = facts(root, property);
            entries.push(Entry {
                path,
                description,
                content: Content::Leaf { facts, default: default.clone() },
            });
        }
    }
}

/// The type, then the limits.
fn facts(root: &Value, property: &Value) -> Vec<String> {
    let (_, schema) = resolve(root, property);
    let mut facts = vec![kind(root, property)];
    let choices = choices(schema);
    if !choices.is_empty() {
        let choices: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        facts.push(format!("one of {}", choices.join(", ")));
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_u64);
    facts.extend(number("minLength").map(|_| "not empty".to_owned()));
    facts.extend(number("maxLength").map(|most| format!("at most {most} characters")));
    facts.extend(number("minItems").map(|_| "not empty".to_owned()));
    facts.extend(number("minimum").filter(|least| *least > 0).map(|least| format!("at least {least}")));
    facts.extend(number("maximum").map(|most| format!("at most {most}")));
    facts.extend(schema.get("pattern").and_then(Value::as_str).map(|it| format!("matches `{it}`")));
    facts
}

/// A type in words.
fn kind(root: &Value, schema: &Value) -> String {
    let (reference, resolved) = resolve(root, schema);
    if let Some(name) = reference.filter(|name| name.starts_with(KUBERNETES)) {
        return format!("Kubernetes' `{}`", name.rsplit('.').next().unwrap_or(name));
    }
    if let Some(items) = resolved.get("items") {
        return format!("list of {}", kind(root, items));
    }
    if let Some(values) = resolved.get("additionalProperties").filter(|values| values.is_object()) {
        return format!("map of {}", kind(root, values));
    }
    if !choices(resolved).is_empty() {
        return "string".to_owned();
    }
    match resolved.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

/// The names to choose from: together, or, where each is explained, one by one.
fn choices(schema: &Value) -> Vec<&str> {
    let together = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let each = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let each = each.flat_map(|one| {
        let names = one.get("enum").and_then(Value::as_array).into_iter().flatten();
        names.chain(one.get("const"))
    });
    together.chain(each).filter_map(Value::as_str).collect()
}
