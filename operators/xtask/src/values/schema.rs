//! values.schema.json: what Helm holds every value against.

use anyhow::{Context, Result};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{Configuration, Values};

/// How the definitions of Kubernetes' own types are named.
pub(super) const KUBERNETES: &str = "io.k8s.";

/// A list of objects, each as itself or as text.
pub(super) fn objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": ["object", "string"]}})
}

/// A place for a schema that comes from elsewhere.
pub(super) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({})
}

/// The schema as the file has it.
pub(crate) fn schema(configuration: &Configuration) -> Result<String> {
    let mut text = serde_json::to_string_pretty(&tree(configuration)?).context("cannot write the schema")?;
    text.push('\n');
    Ok(text)
}

/// The schema as JSON: in the draft that every Helm since 3.0 reads.
pub(super) fn tree(configuration: &Configuration) -> Result<Value> {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Values>();
    let mut tree = serde_json::to_value(schema).context("cannot read the schema")?;
    let root = tree.as_object_mut().context("the schema is no object")?;
    root.insert("title".to_owned(), json!("Values of the chart stowage"));
    let global = json!({"type": "object", "description": "Set by a parent chart; nothing in here is read."});
    let (mut config, definitions) = configuration.schema();
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("global".to_owned(), global);
        let description = properties.get("config").and_then(|place| place.get("description")).cloned();
        if let Some((config, description)) = config.as_object_mut().zip(description) {
            config.insert("description".to_owned(), description);
        }
        properties.insert("config".to_owned(), config);
    }
    if let Some(ours) = root.get_mut("definitions").and_then(Value::as_object_mut) {
        ours.extend(definitions);
    }
    close(&mut tree);
    for (name, definition) in tree.get_mut("definitions").and_then(Value::as_object_mut).into_iter().flatten()
    {
        if name.starts_with(KUBERNETES) {
            strip(definition);
        }
    }
    Ok(tree)
}

/// Refuses unknown keys wherever keys are named: Kubernetes' own types leave that to the API server.
fn close(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut()
        && object.get("properties").is_some_and(Value::is_object)
    {
        object.entry("additionalProperties").or_insert(json!(false));
    }
    children(schema, close);
}

/// Takes out what Kubernetes' own reference explains at length, and says in words of JSON schema what is a number or a text.
fn strip(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("description").is_some_and(Value::is_string) {
            object.remove("description");
        }
        if object.remove("x-kubernetes-int-or-string").is_some() {
            object.insert("type".to_owned(), json!(["number", "string"]));
        }
    }
    children(schema, strip);
}

fn children(schema: &mut Value, each: fn(&mut Value)) {
    match schema {
        Value::Object(object) => object.values_mut().for_each(each),
        Value::Array(items) => items.iter_mut().for_each(each),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The definition that a schema refers to, or the schema itself.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> (Option<&'a str>, &'a Value) {
    let named = |schema: &'a Value| schema.get("$ref").and_then(Value::as_str);
    // Beside a description this draft wants the reference in a list of its own.
    let wrapped = || schema.get("allOf").and_then(|all| all.get(0)).and_then(named);
    let name = named(schema).or_else(wrapped).and_then(|path| path.strip_prefix("#/definitions/"));
    let definition = name.and_then(|name| root.get("definitions")?.get(name));
    (name, definition.unwrap_or(schema))
}

/// The properties of a schema.
pub(super) fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}
