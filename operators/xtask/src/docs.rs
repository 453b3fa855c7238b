//! `cargo xtask docs`: a page for each kind, for readers who have no cluster to ask with `kubectl explain`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition as Column, CustomResourceDefinition, CustomResourceDefinitionVersion,
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::Value;

use crate::{
    generated::{Folder, Others},
    workspace::Workspace,
};

/// What writes them.
pub(crate) const COMMAND: &str = "cargo xtask docs";

/// What marks each file, and says how to change it.
const MARK: &str =
    "<!-- Generated from operators/api by `cargo xtask docs`: change the types and run it again. -->";

/// What every object has, and Kubernetes' own reference explains.
const EVERYWHERE: &[&str] = &["apiVersion", "kind", "metadata"];

/// How the paths are to be read.
const PATHS: &str = "In a path, `[]` is each item of a list and `*` each key of a map.";

/// The folder docs/reference/ as it should be.
pub(crate) fn folder(workspace: &Workspace) -> Folder {
    let files = stowage_api::crds().into_iter();
    let files = files.map(|crd| (format!("{}.md", crd.spec.names.plural), page(&crd))).collect();
    let path = workspace.root().join("docs/reference");
    Folder { path, others: Others::None, command: COMMAND, files }
}

/// The page of one kind: blocks of Markdown, with an empty line between them.
fn page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let mut blocks = vec![MARK.to_owned(), format!("# {}", names.kind)];
    let stored = crd.spec.versions.iter().find(|version| version.storage);
    blocks.extend(stored.and_then(root).and_then(description));
    let mut facts = vec![
        format!("- Name for kubectl: {}", code(&format!("{}.{}", names.plural, crd.spec.group))),
        format!("- Scope: {}", crd.spec.scope),
    ];
    facts.extend(codes(names.short_names.as_deref()).map(|names| format!("- Short names: {names}")));
    facts.extend(codes(names.categories.as_deref()).map(|names| format!("- Categories: {names}")));
    blocks.push(facts.join("\n"));
    for version in crd.spec.versions.iter().filter(|version| version.served) {
        blocks.push(format!("## {}/{}", crd.spec.group, version.name));
        of_version(version, &mut blocks);
    }
    format!("{}\n", blocks.join("\n\n"))
}

fn root(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn of_version(version: &CustomResourceDefinitionVersion, blocks: &mut Vec<String>) {
    if let Some(columns) = &version.additional_printer_columns {
        blocks.extend(["### Columns of `kubectl get`".to_owned(), table(columns)]);
    }
    let Some(root) = root(version) else { return };
    blocks.extend(["### Fields".to_owned(), PATHS.to_owned()]);
    let parts = root.properties.iter().flatten().filter(|(name, _)| !EVERYWHERE.contains(&name.as_str()));
    for (name, part) in parts {
        blocks.extend([format!("#### {name}"), facts(root, name, part)]);
        blocks.extend(description(part));
        fields(name, part, 0, blocks);
    }
    let mut rules = Vec::new();
    collect_rules("", root, &mut rules);
    if !rules.is_empty() {
        let intro = "An object that breaks one of these is refused with the message; `…` is what it finds.";
        blocks.extend(["### Rules".to_owned(), intro.to_owned(), rules.join("\n")]);
    }
}

fn table(columns: &[Column]) -> String {
    let rows = columns.iter().map(|column| {
        let shown = if column.priority.unwrap_or_default() > 0 { "with `-o wide`" } else { "always" };
        let description = column.description.as_deref().map(text).unwrap_or_default();
        let path = cell(&code(&column.json_path));
        format!("| {} | {shown} | {} | {path} |", cell(&column.name), cell(&description))
    });
    let head = ["| Column | Shown | What it says | Path |", "| --- | --- | --- | --- |"].map(str::to_owned);
    head.into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// An item for each field below a path, with the fields of that one below it.
fn fields(path: &str, schema: &JSONSchemaProps, depth: usize, blocks: &mut Vec<String>) {
    if let Some(Element { suffix, schema, .. }) = element(schema) {
        return fields(&format!("{path}{suffix}"), schema, depth, blocks);
    }
    let indent = "  ".repeat(depth);
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        blocks.push(format!("{indent}- {}: {}", code(&path), facts(schema, name, field)));
        blocks.extend(description(field).map(|description| format!("{indent}  {description}")));
        fields(&path, field, depth + 1, blocks);
    }
}

/// An item for each place that has rules, with their messages below it.
fn collect_rules(path: &str, schema: &JSONSchemaProps, lines: &mut Vec<String>) {
    if let Some(rules) = schema.x_kubernetes_validations.as_deref().filter(|rules| !rules.is_empty()) {
        let place = if path.is_empty() { "the whole object".to_owned() } else { code(path) };
        lines.push(format!("- {place}"));
        lines.extend(rules.iter().map(|rule| format!("  - {}", message(rule))));
    }
    if let Some(Element { suffix, schema, .. }) = element(schema) {
        collect_rules(&format!("{path}{suffix}"), schema, lines);
    }
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_rules(&path, field, lines);
    }
}

fn message(rule: &ValidationRule) -> String {
    // As the API server: the expression comes first, and a rule without words is quoted.
    match (&rule.message_expression, &rule.message) {
        (Some(expression), _) => text(&fixed_part(expression)),
        (None, Some(message)) => text(message),
        (None, None) => format!("failed rule: {}", code(&rule.rule)),
    }
}

/// The words of an expression that joins texts, and `…` for each part that is computed.
fn fixed_part(expression: &str) -> String {
    let mut words = String::new();
    let mut depth = 0_usize;
    let mut quote = None;
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) if depth == 0 => {
                let escaped = (character == '\\').then(|| characters.next()).flatten();
                words.push(escaped.unwrap_or(character));
            }
            (Some(_), _) | (None, ' ' | '+') => {}
            (None, _) => {
                match character {
                    '\'' | '"' => quote = Some(character),
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if !(words.ends_with('…') || depth == 0 && quote.is_some()) {
                    words.push('…');
                }
            }
        }
    }
    words
}

/// A field's type, whether it must be there, and its limits.
fn facts(parent: &JSONSchemaProps, name: &str, field: &JSONSchemaProps) -> String {
    let required = parent.required.iter().flatten().any(|required| required == name);
    let presence = match &field.default {
        Some(default) => format!("default {}", code(&default.0.to_string())),
        None if required => "required".to_owned(),
        None => "optional".to_owned(),
    };
    let mut facts = vec![code(&type_of(field)), presence];
    facts.extend((field.nullable == Some(true)).then(|| "may be null".to_owned()));
    facts.extend(limits(field));
    facts.join(", ")
}

/// The type as `kubectl explain` writes it.
fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(Element { kind, schema, .. }) = element(schema) {
        return format!("{kind}{}", type_of(schema));
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "integer or string".to_owned();
    }
    match (schema.type_.as_deref(), schema.format.as_deref()) {
        (Some(name), Some(format)) => format!("{name} ({format})"),
        (Some(name), None) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// What the items of a list or the values of a map are.
struct Element<'a> {
    schema: &'a JSONSchemaProps,
    /// What it adds to the path.
    suffix: &'static str,
    /// What it puts before the type.
    kind: &'static str,
    /// What one of them is called.
    each: &'static str,
}

fn element(schema: &JSONSchemaProps) -> Option<Element<'_>> {
    if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
        return Some(Element { schema, suffix: "[]", kind: "[]", each: "each item" });
    }
    if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
        return Some(Element { schema, suffix: ".*", kind: "map[string]", each: "each value" });
    }
    None
}

/// What a value must keep to, apart from the rules.
fn limits(schema: &JSONSchemaProps) -> Vec<String> {
    let sizes = [
        ("characters", schema.min_length, schema.max_length),
        ("items", schema.min_items, schema.max_items),
        ("entries", schema.min_properties, schema.max_properties),
    ];
    let mut limits: Vec<_> = sizes.into_iter().filter_map(|(unit, min, max)| size(unit, min, max)).collect();
    let lower = if schema.exclusive_minimum == Some(true) { "more than" } else { "at least" };
    limits.extend(schema.minimum.map(|minimum| format!("{lower} {minimum}")));
    let upper = if schema.exclusive_maximum == Some(true) { "less than" } else { "at most" };
    limits.extend(schema.maximum.map(|maximum| format!("{upper} {maximum}")));
    limits.extend(schema.pattern.as_deref().map(|pattern| format!("matches {}", code(pattern))));
    let values = schema.enum_.as_deref().map(|values| values.iter().map(|value| bare(&value.0)));
    let values = values.and_then(|values| codes(Some(&values.collect::<Vec<_>>())));
    limits.extend(values.map(|values| format!("one of {values}")));
    if schema.x_kubernetes_list_type.as_deref() == Some("set") {
        limits.push("each once".to_owned());
    }
    let keys = codes(schema.x_kubernetes_list_map_keys.as_deref());
    limits.extend(keys.map(|keys| format!("one for each {keys}")));
    if let Some(Element { schema, each, .. }) = element(schema) {
        limits.extend(self::limits(schema).into_iter().map(|limit| format!("{each} {limit}")));
    }
    limits
}

fn size(unit: &str, min: Option<i64>, max: Option<i64>) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max} {unit}")),
        (Some(min), None) => Some(format!("at least {min} {unit}")),
        (None, Some(max)) => Some(format!("at most {max} {unit}")),
        (None, None) => None,
    }
}

/// A value as it is written into YAML.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn description(schema: &JSONSchemaProps) -> Option<String> {
    schema.description.as_deref().map(text)
}

/// Prose as one line, in which no `<` begins a tag.
fn text(prose: &str) -> String {
    let line = prose.split_whitespace().collect::<Vec<_>>().join(" ");
    let spans = line.split('`').enumerate();
    // Every other one is code, where a backslash would be seen.
    let spans = spans.map(|(at, span)| if at % 2 == 0 { span.replace('<', "\\<") } else { span.to_owned() });
    spans.collect::<Vec<_>>().join("`")
}

/// A line as a cell of a table: `|` would end it, even in code.
fn cell(line: &str) -> String {
    line.replace('|', "\\|")
}

/// A text as code, whatever backticks it has.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn codes(texts: Option<&[String]>) -> Option<String> {
    let texts = texts.filter(|texts| !texts.is_empty())?;
    Some(texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A made-up kind whose schema lists what is required in this order.
    fn moons(required: [&str; 2]) -> CustomResourceDefinition {
        let crd = json!({
            "metadata": { "name": "moons.example.com" },
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": { "kind": "Moon", "plural": "moons", "shortNames": ["mo"], "categories": ["sky"] },
                "versions": [
                    { "name": "v1", "served": false, "storage": false },
                    {
                        "name": "v2", "served": true, "storage": true,
                        "additionalPrinterColumns": [
                            { "name": "Phase", "type": "string", "jsonPath": ".status.phase",
                              "description": "New | full" },
                            { "name": "Age", "type": "date", "jsonPath": ".metadata.age", "priority": 1 },
                        ],
                        "schema": { "openAPIV3Schema": {
                            "type": "object", "description": "A moon\nof a planet.", "required": ["spec"],
                            "x-kubernetes-validations": [{ "rule": "true", "message": "be a moon" }],
                            "properties": {
                                "metadata": { "type": "object" },
                                "spec": {
                                    "type": "object", "description": "The wish.", "required": required,
                                    "properties": {
                                        "craters": {
                                            "type": "array", "maxItems": 3,
                                            "items": { "type": "object", "properties": {
                                                "depth": { "type": "integer", "description": "Metres." },
                                            } },
                                            "x-kubernetes-validations": [
                                                { "rule": "true", "messageExpression": "'no ' + self[0] + '!'" },
                                                { "rule": "self < 1" },
                                            ],
                                        },
                                        "orbit": { "type": "string" },
                                    },
                                },
                                "status": { "type": "object", "properties": {
                                    "phase": { "type": "string", "default": "new" },
                                } },
                            },
                        } },
                    },
                ],
            },
        });
        serde_json::from_value(crd).unwrap()
    }

    fn schema(schema: Value) -> JSONSchemaProps {
        serde_json::from_value(schema).unwrap()
    }

    #[test]
    fn a_kind_is_a_page() {
        let wanted = "\
<!-- Generated from operators/api by `cargo xtask docs`: change the types and run it again. -->

# Moon

A moon of a planet.

- Name for kubectl: `moons.example.com`
- Scope: Namespaced
- Short names: `mo`
- Categories: `sky`

## example.com/v2

### Columns of `kubectl get`

| Column | Shown | What it says | Path |
| --- | --- | --- | --- |
| Phase | always | New \\| full | `.status.phase` |
| Age | with `-o wide` |  | `.metadata.age` |

### Fields

In a path, `[]` is each item of a list and `*` each key of a map.

#### spec

`object`, required

The wish.

- `spec.craters`: `[]object`, required, at most 3 items

  - `spec.craters[].depth`: `integer`, optional

    Metres.

- `spec.orbit`: `string`, required

#### status

`object`, optional

- `status.phase`: `string`, default `\"new\"`

### Rules

An object that breaks one of these is refused with the message; `…` is what it finds.

- the whole object
  - be a moon
- `spec.craters`
  - no …!
  - failed rule: `self < 1`
";
        assert_eq!(page(&moons(["orbit", "craters"])), wanted);
    }

    #[test]
    fn the_order_in_which_a_schema_is_written_changes_nothing() {
        assert_eq!(page(&moons(["orbit", "craters"])), page(&moons(["craters", "orbit"])));
    }

    #[test]
    fn every_kind_has_its_page() {
        let folder = folder(&Workspace::load().unwrap());
        let crds = stowage_api::crds();
        assert_eq!(folder.files.len(), crds.len());
        for crd in crds {
            let text = &folder.files[&format!("{}.md", crd.spec.names.plural)];
            assert!(text.contains(&format!("\n# {}\n", crd.spec.names.kind)), "{text:.200}");
        }
    }

    #[test]
    fn a_field_says_its_type_and_its_limits() {
        let field = |field: Value| facts(&JSONSchemaProps::default(), "moon", &schema(field));
        let cases = [
            (json!({ "type": "boolean" }), "`boolean`, optional"),
            (json!({ "type": "boolean", "default": false }), "`boolean`, default `false`"),
            (json!({ "type": "string", "nullable": true }), "`string`, optional, may be null"),
            (json!({ "type": "string", "format": "date-time" }), "`string (date-time)`, optional"),
            (json!({ "type": "string", "maxLength": 9 }), "`string`, optional, at most 9 characters"),
            (json!({ "type": "string", "minLength": 2 }), "`string`, optional, at least 2 characters"),
            (json!({ "type": "string", "pattern": "^a|b$" }), "`string`, optional, matches `^a|b$`"),
            (json!({ "type": "string", "enum": ["Io", "Luna"] }), "`string`, optional, one of `Io`, `Luna`"),
            (json!({ "type": "integer", "enum": [1, 2] }), "`integer`, optional, one of `1`, `2`"),
            (
                json!({ "type": "number", "minimum": 0, "maximum": 1.5 }),
                "`number`, optional, at least 0, at most 1.5",
            ),
            (
                json!({ "type": "number", "minimum": 1, "exclusiveMinimum": true }),
                "`number`, optional, more than 1",
            ),
            (
                json!({ "type": "number", "maximum": 7, "exclusiveMaximum": true }),
                "`number`, optional, less than 7",
            ),
            (json!({ "x-kubernetes-int-or-string": true }), "`integer or string`, optional"),
            (json!({ "x-kubernetes-preserve-unknown-fields": true }), "`any`, optional"),
            (
                json!({ "type": "array", "minItems": 1, "maxItems": 4, "x-kubernetes-list-type": "set",
                    "items": { "type": "string", "minLength": 1, "maxLength": 8 } }),
                "`[]string`, optional, 1 to 4 items, each once, each item 1 to 8 characters",
            ),
            (
                json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": { "type": "object" } }),
                "`[]object`, optional, one for each `name`",
            ),
            (
                json!({ "type": "object", "minProperties": 2, "maxProperties": 5,
                    "additionalProperties": { "type": "array", "maxItems": 6, "items": { "type": "integer" } } }),
                "`map[string][]integer`, optional, 2 to 5 entries, each value at most 6 items",
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(field(given.clone()), wanted, "{given}");
        }
    }

    #[test]
    fn the_fields_and_the_rules_of_values_of_a_map_have_a_path() {
        let map = schema(json!({ "type": "object", "additionalProperties": {
            "type": "object",
            "properties": { "mass": { "type": "integer" } },
            "x-kubernetes-validations": [{ "rule": "true", "message": "be heavy" }],
        } }));
        let (mut items, mut rules) = (Vec::new(), Vec::new());
        fields("spec.moons", &map, 1, &mut items);
        collect_rules("spec.moons", &map, &mut rules);
        assert_eq!(items, ["  - `spec.moons.*.mass`: `integer`, optional"]);
        assert_eq!(rules, ["- `spec.moons.*`", "  - be heavy"]);
    }

    #[test]
    fn a_message_keeps_its_words_whatever_is_computed_between_them() {
        let cases = [
            ("'plain'", "plain"),
            ("'a ' + self.filter(k, k in ['x', '(']).size() + ' z'", "a … z"),
            ("self.name + \" it's\"", "… it's"),
            (r"'it\'s (one)'", "it's (one)"),
            ("'a' + string(self) + 'b' + [1][0]", "a…b…"),
        ];
        for (expression, wanted) in cases {
            assert_eq!(fixed_part(expression), wanted, "{expression}");
        }
    }

    #[test]
    fn prose_and_code_mean_in_markdown_what_they_are() {
        assert_eq!(text("one <a>\n  two `<b>`\n\nthree"), r"one \<a> two `<b>` three");
        assert_eq!(cell("a | b"), r"a \| b");
        assert_eq!(code("a`b"), "`` a`b ``");
    }
}
