//! The expressions of the chart's policies, as the API server evaluates them.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fs,
};

use kube_cel::{
    KubeCelExt,
    cel::{Context, Program, Value as Cel},
};
use serde::Deserialize;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The parts of a policy's spec that decide.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    match_conditions: Vec<Named>,
    variables: Vec<Named>,
    validations: Vec<Validation>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    expression: String,
    message_expression: String,
}

impl Policy {
    fn read() -> Result<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/stowage/policies/pool-deletion.yaml");
        Ok(serde_saphyr::from_str(&fs::read_to_string(path)?)?)
    }

    /// Why `user` may not delete the pool; `None` where it may.
    fn refusal(&self, pool: &Value, user: &str) -> Result<Option<String>> {
        let request = json!({"userInfo": {"username": user}, "operation": "DELETE"});
        let mut asked = Asked { pool, request, variables: BTreeMap::new() };
        for condition in &self.match_conditions {
            if !asked.holds(&condition.expression)? {
                return Ok(None);
            }
        }
        for Named { name, expression } in &self.variables {
            let value = asked.evaluate(expression)?;
            asked.variables.insert(name.clone(), value);
        }
        for Validation { expression, message_expression } in &self.validations {
            if asked.holds(expression)? {
                continue;
            }
            let message = asked.evaluate(message_expression)?;
            let Cel::String(message) = message else { return Err(format!("it says {message:?}").into()) };
            return Ok(Some(message.to_string()));
        }
        Ok(None)
    }
}

/// A request that a policy looks at.
struct Asked<'a> {
    pool: &'a Value,
    request: Value,
    variables: BTreeMap<String, Cel>,
}

impl Asked<'_> {
    fn evaluate(&self, expression: &str) -> Result<Cel> {
        let mut context = Context::default().with_all();
        context.add_variable_from_value("oldObject", cel(self.pool));
        context.add_variable_from_value("request", cel(&self.request));
        context.add_variable_from_value("variables", map(self.variables.clone()));
        let value = Program::compile(expression)?.execute(&context);
        value.map_err(|error| format!("{expression}: {error}").into())
    }

    fn holds(&self, expression: &str) -> Result<bool> {
        let value = self.evaluate(expression)?;
        let Cel::Bool(holds) = value else { return Err(format!("{expression} is {value:?}").into()) };
        Ok(holds)
    }
}

/// JSON as the API server hands it to an expression: whole numbers have a sign there.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(bool) => Cel::Bool(*bool),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or_default()), Cel::Int)
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel).collect::<Vec<_>>().into(),
        Value::Object(fields) => map(fields.iter().map(|(name, value)| (name.clone(), cel(value)))),
    }
}

fn map(fields: impl IntoIterator<Item = (String, Cel)>) -> Cel {
    fields.into_iter().collect::<HashMap<_, _>>().into()
}

fn pool(spec: &Value, total: Option<i32>) -> Value {
    let status =
        total.map_or_else(|| json!({"observedGeneration": -1}), |total| json!({"nodes": {"total": total}}));
    json!({"metadata": {"name": "gantry"}, "spec": spec, "status": status})
}

const ADMIN: &str = "harbour-master";

// Rule xtask-15.
#[test]
fn a_pool_with_nodes_goes_only_when_its_policy_lets_it() {
    let policy = Policy::read().unwrap();
    let with = |policy: &str| json!({"deletionPolicy": policy});
    let cases = [
        ("it has nodes, and no policy means Refuse", pool(&json!({}), Some(2)), true),
        ("it has nodes", pool(&with("Refuse"), Some(1)), true),
        ("it has none", pool(&with("Refuse"), Some(0)), false),
        ("nobody has counted", pool(&json!({}), None), false),
        ("its nodes may be released", pool(&with("Release"), Some(2)), false),
        ("its nodes are drained first", pool(&with("Drain"), Some(2)), false),
    ];
    for (because, pool, refused) in cases {
        assert_eq!(policy.refusal(&pool, ADMIN).unwrap().is_some(), refused, "{because}");
    }
}

// Rule xtask-15.
#[test]
fn the_refusal_counts_the_nodes_and_gives_the_command() {
    let policy = Policy::read().unwrap();
    let said = |total| policy.refusal(&pool(&json!({}), Some(total)), ADMIN).unwrap().unwrap();
    assert!(said(1).starts_with("NodePool gantry has 1 node and"), "{}", said(1));
    assert!(said(12).starts_with("NodePool gantry has 12 nodes and"), "{}", said(12));
    let command = r#"kubectl patch nodepools.stowage.dev gantry --type merge -p '{"spec":{"deletionPolicy":"Release"}}'"#;
    assert!(said(12).contains(command), "{}", said(12));
    assert!(!said(12).contains('\n'), "the API server refuses a message of two lines");
}

// Rule xtask-15.
#[test]
fn what_has_begun_and_what_nobody_reads_is_not_refused() {
    let policy = Policy::read().unwrap();
    let held = pool(&json!({}), Some(2));
    assert!(policy.refusal(&held, ADMIN).unwrap().is_some());
    for collector in
        ["system:serviceaccount:kube-system:generic-garbage-collector", "system:kube-controller-manager"]
    {
        assert_eq!(policy.refusal(&held, collector).unwrap(), None, "{collector}");
    }
    let mut leaving = held;
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    assert_eq!(policy.refusal(&leaving, ADMIN).unwrap(), None);
}
