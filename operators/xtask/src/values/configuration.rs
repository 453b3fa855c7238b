//! The manager's configuration file as a value: its schema and defaults are what the manager itself says.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Where `cargo xtask chart` keeps what the manager says, below the folder of the chart.
pub(crate) const FILE: &str = "config.schema.json";

/// What the template adds.
const HEAD: [&str; 2] = ["apiVersion", "kind"];

/// In front of the names of its definitions: the chart's own may be the same.
const PREFIX: &str = "config.";

/// The schema of the file, with a default for every field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration(Value);

impl Configuration {
    /// From what `stowage config schema` prints.
    pub(crate) fn try_new(text: &str) -> Result<Self> {
        serde_json::from_str(text).map(Self).context("the schema of the configuration is no JSON")
    }

    /// From the folder of generated files.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}: `cargo xtask chart` writes it", file.display()))?;
        Self::try_new(&text)
    }

    /// As a file.
    pub(crate) fn to_text(&self) -> String {
        format!("{:#}\n", self.0)
    }

    /// The default of every field.
    pub(super) fn defaults(&self) -> Value {
        let fields =
            self.fields().filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone())));
        Value::Object(fields.collect())
    }

    /// The schema of the value, and the definitions that it refers to.
    pub(super) fn schema(&self) -> (Value, Map<String, Value>) {
        let fields: Map<_, _> =
            self.fields().map(|(name, field)| (name.clone(), referring(field.clone()))).collect();
        let schema = json!({"type": "object", "properties": fields, "additionalProperties": false});
        let definitions = self.0.get("$defs").and_then(Value::as_object).into_iter().flatten();
        let definitions = definitions
            .filter(|(name, _)| !["ApiVersion", "Kind"].contains(&name.as_str()))
            .map(|(name, definition)| (format!("{PREFIX}{name}"), referring(definition.clone())));
        (schema, definitions.collect())
    }

    fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        let properties = self.0.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.filter(|(name, _)| !HEAD.contains(&name.as_str()))
    }
}

/// The same with references to where the definitions are in the schema of the chart. Those stand in a list of their own: the
/// older draft that Helm 3 reads takes nothing beside a reference.
fn referring(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut fields: Map<_, _> =
                fields.into_iter().map(|(name, part)| (name, referring(part))).collect();
            let name =
                fields.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            if let Some(path) = name.map(|name| format!("#/definitions/{PREFIX}{name}")) {
                fields.remove("$ref");
                fields.insert("allOf".to_owned(), json!([{"$ref": path}]));
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.into_iter().map(referring).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule xtask-12.
    #[test]
    fn a_configuration_is_a_value_without_the_two_fields_that_every_one_has() {
        let printed = json!({
            "properties": {
                "apiVersion": {"$ref": "#/$defs/ApiVersion"},
                "kind": {"$ref": "#/$defs/Kind"},
                "tides": {"$ref": "#/$defs/Tides", "default": {"high": 4}, "description": "Of the sea."},
            },
            "$defs": {
                "ApiVersion": {"enum": ["v1"]},
                "Kind": {"enum": ["Sea"]},
                "Tides": {"type": "object", "properties": {"high": {"type": "integer"}}},
            },
        });
        let configuration = Configuration::try_new(&printed.to_string()).unwrap();
        assert_eq!(configuration.defaults(), json!({"tides": {"high": 4}}));
        let (schema, definitions) = configuration.schema();
        let tides = json!({
            "allOf": [{"$ref": "#/definitions/config.Tides"}], "default": {"high": 4}, "description": "Of the sea.",
        });
        assert_eq!(schema["properties"], json!({"tides": tides}));
        assert_eq!(definitions.keys().collect::<Vec<_>>(), ["config.Tides"]);
    }
}
