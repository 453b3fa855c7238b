//! What the chart's alerts and its dashboard ask for, against what the program serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
    thread,
};

use promql_parser::{
    parser::{AggregateExpr, Expr, LabelModifier, VectorSelector, parse},
    util::{ExprVisitor, walk_expr},
};
use serde_json::Value;

use crate::program::{Result, Stowage, cluster_at, configuration, free, get, stowage, until, version};

/// The labels of each series.
type Served = BTreeMap<String, BTreeSet<String>>;

/// What Prometheus has of itself, and the labels that it puts to what it scrapes.
const OF_PROMETHEUS: &str = "up";
const OF_SCRAPES: [&str; 4] = ["instance", "job", "namespace", "pod"];

/// Answers as an API server that tells its version and has nothing else to say.
fn answer(server: &TcpListener) -> std::io::Result<()> {
    for stream in server.incoming() {
        let mut stream = BufReader::new(stream?);
        let mut head = String::new();
        while stream.read_line(&mut head)? > 2 {}
        let (code, body) = if head.starts_with("GET /version") {
            ("200 OK", version("36"))
        } else {
            ("503 Service Unavailable", "{}".to_owned())
        };
        let head = format!("HTTP/1.1 {code}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
    }
    Ok(())
}

/// The series that a program serves which has started every kind, and has not reached one object yet.
fn served() -> Result<Served> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let folder = cluster_at(server.local_addr()?)?;
    thread::spawn(move || answer(&server));
    let listen = free()?;
    let mut command = stowage(&folder);
    command.args(["run", "--listen", &listen.to_string(), "--namespace", "harbour", "--config"]);
    command.arg(configuration(&folder, "")?).stdout(Stdio::null()).stderr(Stdio::null());
    let _stowage = Stowage(command.spawn()?);
    // The first answer to a request is in the metrics after all that is there from the start.
    let expected = ["controller_runtime_reconcile_total{", "rest_client_requests_total{code=\"503\""];
    let has_started = |text: &String| expected.iter().all(|series| text.contains(series));
    until(|| get(listen, "/metrics").ok().filter(has_started)).map(|text| series(&text))
}

/// Reads `name{label="value",…} 1`.
fn series(text: &str) -> Served {
    let mut served = Served::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) =
            line.split_once('{').unwrap_or_else(|| (line.split(' ').next().unwrap_or(line), ""));
        let labels = rest.split("\",").filter_map(|label| label.trim_start_matches(',').split_once("=\""));
        served.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    served
}

/// What a query asks for.
#[derive(Default)]
struct Asked {
    /// Each selector: its name, and the labels in its braces.
    selectors: Vec<(String, Vec<String>)>,
    /// Labels by which something is grouped.
    groups: Vec<String>,
}

impl ExprVisitor for Asked {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> std::result::Result<bool, String> {
        if let Expr::VectorSelector(selector) = expression {
            self.select(selector)?;
        } else if let Expr::MatrixSelector(matrix) = expression {
            self.select(&matrix.vs)?;
        } else if let Expr::Aggregate(AggregateExpr {
            modifier: Some(LabelModifier::Include(labels)), ..
        }) = expression
        {
            self.groups.extend(labels.labels.iter().cloned());
        }
        Ok(true)
    }
}

impl Asked {
    fn select(&mut self, selector: &VectorSelector) -> std::result::Result<(), String> {
        let name = selector.name.clone().ok_or("a selector without a name")?;
        let labels = selector.matchers.matchers.iter().map(|matcher| matcher.name.clone()).collect();
        self.selectors.push((name, labels));
        Ok(())
    }
}

/// What is wrong with a query.
fn faults(query: &str, served: &Served) -> Vec<String> {
    // Grafana puts a duration there.
    let query = query.replace("$__rate_interval", "5m");
    let mut asked = Asked::default();
    if let Err(error) = parse(&query).and_then(|expression| walk_expr(&mut asked, &expression)) {
        return vec![format!("{query}: {error}")];
    }
    let Asked { selectors, groups } = asked;
    if selectors.is_empty() {
        return vec![format!("{query}: it asks for nothing")];
    }
    let mut faults = Vec::new();
    for (name, labels) in selectors {
        if !labels.iter().any(|label| label == "job") {
            faults.push(format!("{query}: {name} may be another program's: ask for job"));
        }
        let none = BTreeSet::new();
        let Some(known) = served.get(&name).or_else(|| (name == OF_PROMETHEUS).then_some(&none)) else {
            faults.push(format!("{query}: no series has the name {name}"));
            continue;
        };
        let unknown = labels.iter().chain(&groups);
        let unknown =
            unknown.filter(|label| !known.contains(*label) && !OF_SCRAPES.contains(&label.as_str()));
        faults.extend(unknown.map(|label| format!("{query}: {name} has no label {label}")));
    }
    faults
}

fn chart(file: &str) -> Result<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/stowage/monitoring");
    Ok(fs::read_to_string(format!("{folder}/{file}"))?)
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| Some(item[name].as_str()?.to_owned())).collect()
}

// Rule manager-9.
#[test]
fn every_metric_that_an_alert_or_the_dashboard_names_is_served_from_the_start() {
    let alerts: Value = serde_saphyr::from_str(&chart("alerts.yaml").unwrap()).unwrap();
    let mut queries = texts(&alerts["rules"], "expr");
    let dashboard: Value = serde_json::from_str(&chart("dashboard.json").unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    queries.extend(panels.iter().flat_map(|panel| texts(&panel["targets"], "expr")));
    assert!(queries.len() > 30, "{queries:?}");
    let served = served().unwrap();
    let faults: Vec<_> = queries.iter().flat_map(|query| faults(query, &served)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

// Rule manager-9.
#[test]
fn a_query_that_no_series_answers_is_found() {
    let served = series(
        "# HELP tides x\ntides{sea=\"north, or\",moon=\"full\"} 1\nwaves_bucket{le=\"+Inf\"} 2\nrain 3\n",
    );
    let good = [
        r#"sum by (sea) (rate(tides{job="a", moon="full"}[$__rate_interval])) > 1"#,
        r#"absent(up{job="a"} == 1)"#,
        r#"histogram_quantile(0.9, sum by (le) (rate(waves_bucket{job="a"}[5m])))"#,
        r#"max(rain{job="a"}) / 2"#,
    ];
    for query in good {
        assert_eq!(faults(query, &served), Vec::<String>::new());
    }
    let bad = [
        (r#"ebb{job="a"}"#, "no series has the name ebb"),
        (r#"tides{job="a", star="x"}"#, "has no label star"),
        (r#"sum by (star) (rate(tides{job="a"}[5m]))"#, "has no label star"),
        ("max(tides)", "ask for job"),
        ("sum by (", ""),
        ("1 + 1", "asks for nothing"),
    ];
    for (query, wanted) in bad {
        let found = faults(query, &served);
        assert!(found.len() == 1 && found[0].contains(wanted), "{query}: {found:?}");
    }
}

// Rule manager-9.
#[test]
fn panels_of_the_dashboard_lie_beside_each_other() {
    let dashboard: Value = serde_json::from_str(&chart("dashboard.json").unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(cells.insert(cell), "another panel is at {cell:?}: {panel}");
        }
    }
}
