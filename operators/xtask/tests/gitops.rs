//! What docs/gitops gives to Argo CD and Flux, over the test data that lies beside it.

use std::{error::Error, fs, path::PathBuf};

use kube_cel::{
    KubeCelExt,
    cel::{Context, Program, Value as Cel},
};
use mlua::{Lua, LuaSerdeExt, StdLib};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A health as Argo CD names it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Health {
    status: String,
    message: String,
}

/// Argo CD's list of tests.
#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    health_status: Health,
    input_path: String,
}

fn file(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gitops")).join(path)
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(file(path)).map_err(|error| format!("{path}: {error}").into())
}

fn yaml<T: DeserializeOwned>(path: &str) -> Result<T> {
    serde_saphyr::from_str(&text(path)?).map_err(|error| format!("{path}: {error}").into())
}

const ARGO: &str = "argocd/stowage.dev/NodePool";

/// Each object of the test data, with the health that it should have.
fn cases() -> Result<Vec<(Value, Health)>> {
    let Tests { tests } = yaml(&format!("{ARGO}/health_test.yaml"))?;
    let read = |test: Test| Ok((yaml(&format!("{ARGO}/{}", test.input_path))?, test.health_status));
    tests.into_iter().map(read).collect()
}

/// The health that the script finds, with the libraries that Argo CD gives it.
fn health(object: &Value) -> Result<Health> {
    let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING, mlua::LuaOptions::default())?;
    lua.globals().set("obj", lua.to_value(object)?)?;
    let found = lua.load(text(&format!("{ARGO}/health.lua"))?).eval::<mlua::Value>()?;
    Ok(lua.from_value(found)?)
}

/// The name of the first expression that holds, in the order in which Flux asks.
fn first(checks: &Value, object: &Value) -> Result<Option<&'static str>> {
    for name in ["inProgress", "failed", "current"] {
        let program = Program::compile(checks[name].as_str().ok_or("no text")?)?;
        let mut context = Context::default().with_all();
        for field in ["metadata", "spec", "status"] {
            context.add_variable(field, &object[field]).map_err(|error| error.to_string())?;
        }
        match program.execute(&context) {
            Ok(Cel::Bool(true)) => return Ok(Some(name)),
            Ok(Cel::Bool(false)) => {}
            other => return Err(format!("{name}: {other:?}").into()),
        }
    }
    Ok(None)
}

// Rule xtask-14.
#[test]
fn argo_cd_finds_the_health_that_the_test_data_names() {
    let cases = cases().unwrap();
    for (object, wanted) in &cases {
        assert_eq!(health(object).unwrap(), *wanted, "{object}");
    }
    let seen = fs::read_dir(file(&format!("{ARGO}/testdata"))).unwrap().count();
    assert_eq!(cases.len(), seen, "an object of the test data is in no test");
}

// Rule xtask-14.
#[test]
fn an_object_without_a_status_is_not_done() {
    let (mut object, _) = cases().unwrap().remove(0);
    object.as_object_mut().unwrap().remove("status");
    assert_eq!(health(&object).unwrap().status, "Progressing");
}

// Rule xtask-14.
#[test]
fn flux_finds_what_argo_cd_finds() {
    let kustomization: Value = yaml("flux/kustomization.yaml").unwrap();
    let checks = &kustomization["spec"]["healthCheckExprs"][0];
    assert_eq!(
        (&checks["apiVersion"], &checks["kind"]),
        (&"stowage.dev/v1alpha1".into(), &"NodePool".into())
    );
    for (object, Health { status, .. }) in cases().unwrap() {
        let found = first(checks, &object).unwrap();
        // Nothing that holds means that it waits.
        let wanted = match status.as_str() {
            "Healthy" => found == Some("current"),
            "Degraded" => found == Some("failed"),
            _ => found == Some("inProgress") || found.is_none(),
        };
        assert!(wanted, "{found:?} for {status}: {object}");
    }
}
