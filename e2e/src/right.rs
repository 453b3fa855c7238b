//! The rights of the product, and what it is like without one of them.

use serde_json::{Value, json};
use stowage_cluster::wait_for;

use crate::{LIMIT, Lab, Outcome, RELEASE, SERVICE_ACCOUNT, finally};

/// Something that the product may do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The namespace in which it may; everywhere, where none is named.
    pub namespace: Option<&'static str>,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource behind a slash.
    pub resource: &'static str,
    /// What it may.
    pub verb: &'static str,
}

/// Whether the product has a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Denied,
}

impl Right {
    /// The role that grants it, by kind and namespace.
    fn role(&self) -> Vec<&'static str> {
        match self.namespace {
            None => vec!["clusterrole", RELEASE],
            Some(namespace) => vec!["role", RELEASE, "--namespace", namespace],
        }
    }

    fn is_granted_by(&self, rule: &Value) -> bool {
        rule.get("apiGroups") == Some(&json!([self.group]))
            && rule.get("resources") == Some(&json!([self.resource]))
    }

    /// The role without it.
    fn taken_from(&self, role: &Value) -> Outcome<Value> {
        let mut poorer = role.clone();
        let rules = poorer.get_mut("rules").and_then(Value::as_array_mut).ok_or("the role has no rules")?;
        for rule in rules.iter_mut().filter(|rule| self.is_granted_by(rule)) {
            let verbs = rule.get_mut("verbs").and_then(Value::as_array_mut);
            verbs.ok_or("the rule has no verbs")?.retain(|verb| verb != self.verb);
        }
        // A rule without a verb is none.
        rules.retain(|rule| rule.get("verbs") != Some(&json!([])));
        if poorer == *role { Err(format!("no rule grants {self:?}: {role}").into()) } else { Ok(poorer) }
    }
}

impl Lab {
    /// Does `work` while the product lacks a right, which it has again afterwards, however the work ended.
    pub fn without(&self, right: Right, work: impl FnOnce() -> Outcome) -> Outcome {
        let role = self.kubectl.get(&right.role())?;
        self.replace(&right.taken_from(&role)?)?;
        let deprived = || self.wait_for_right(right, Answer::Denied).and_then(|()| work());
        finally(deprived, || {
            self.replace(&role)?;
            self.wait_for_right(right, Answer::Allowed)
        })
    }

    /// The API server learns of a changed role a moment after it has stored it.
    fn wait_for_right(&self, right: Right, wanted: Answer) -> Outcome {
        let Right { namespace, group, resource, verb } = right;
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let (user, part) = (format!("--as={SERVICE_ACCOUNT}"), format!("--subresource={subresource}"));
        let ask =
            ["auth", "can-i", verb, &resource, &part, &user, "--namespace", namespace.unwrap_or("default")];
        let found = wait_for(&format!("{verb} {resource} to be {wanted:?}"), LIMIT, || {
            // kubectl fails where the answer is no.
            let answer = if self.kubectl.run(&ask).is_ok() { Answer::Allowed } else { Answer::Denied };
            if answer == wanted { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        Ok(found?)
    }
}
