use super::*;

const HEAD: &str = "apiVersion: config.stowage.dev/v1alpha1\nkind: OperatorConfiguration\n";

fn invalid(rest: &str) -> String {
    OperatorConfiguration::try_new(&format!("{HEAD}{rest}")).unwrap_err().to_string()
}

// Rule manager-6.
#[test]
fn a_file_with_two_lines_has_every_default() {
    assert_eq!(OperatorConfiguration::try_new(HEAD), Ok(OperatorConfiguration::default()));
    let default = serde_saphyr::to_string(&OperatorConfiguration::default()).unwrap();
    assert_eq!(OperatorConfiguration::try_new(&default), Ok(OperatorConfiguration::default()), "{default}");
    assert_eq!(OperatorConfiguration::default().tuning(), Tuning::default());
}

// Rule manager-6.
#[test]
fn each_field_reaches_what_it_is_for() {
    let text = format!(
        "{HEAD}concurrency: 3\nwrites: {{perSecond: 7, burst: 9}}\nresyncPeriod: 1h30m\nlogging: {{format: Text, level: \"warn,stowage_runtime=debug\"}}\n\
         leaderElection: {{mode: Disabled, leaseDuration: 30s, renewDeadline: 20s, retryPeriod: 5s}}\nnodePool: {{localDNSAddress: \"fd00::10\"}}\n"
    );
    let configuration = OperatorConfiguration::try_new(&text).unwrap();
    let writes = WriteLimit::Bucket { per_second: 7.try_into().unwrap(), burst: 9.try_into().unwrap() };
    let resync = std::time::Duration::from_secs(5400);
    assert_eq!(configuration.tuning(), Tuning { concurrency: 3.try_into().unwrap(), writes, resync });
    let waiting = configuration.waiting(&OperatorConfiguration::default());
    assert_eq!(waiting, ["logging.format", "leaderElection", "nodePool"]);
    let unlimited = OperatorConfiguration::try_new(&format!("{HEAD}writes: {{mode: Unlimited}}")).unwrap();
    assert_eq!(unlimited.tuning().writes, WriteLimit::Disabled);
}

// Rule manager-6.
#[test]
fn what_is_wrong_is_said_with_its_field_and_the_cure() {
    let cases = [
        ("concurrency: 0", "concurrency: 0 is out of bounds: give 1 to 100", "too few"),
        ("concurrency: 101", "concurrency: 101 is out of bounds: give 1 to 100", "too many"),
        ("writes: {burst: 0}", "writes.burst: 0 is out of bounds: give 1 to 10000", "in a section"),
        ("writes: {perSecond: 0}", "writes.perSecond: 0 is out of bounds: give 1 to 10000", "in a section"),
        ("resyncPeriod: 1s", "resyncPeriod: 1s is out of bounds: give 60s to 86400s", "a storm"),
        ("resyncPeriod: -5m", "resyncPeriod: -300s is out of bounds: give 60s to 86400s", "negative"),
        (
            "logging: {level: inof}",
            "logging.level: \"inof\" is no level: write error, warn, info, debug or trace, and others for parts of the \
             program as PART=LEVEL after a comma",
            "a slip",
        ),
        (
            "leaderElection: {leaseDuration: 14s}",
            "leaderElection.renewDeadline: 10s is too long: give at most two thirds of leaseDuration, 9.333333333s",
            "two leaders",
        ),
        (
            "leaderElection: {retryPeriod: 3s}",
            "leaderElection.retryPeriod: 3s is too long: give at most a quarter of renewDeadline, 2.5s",
            "a lost answer",
        ),
        (
            "nodePool: {localDNSAddress: 127.0.0.1}",
            "nodePool.localDNSAddress: 127.0.0.1 reaches no cache from a pod: give the address that the cache listens on",
            "the pod itself",
        ),
    ];
    for (rest, expected, because) in cases {
        assert_eq!(invalid(rest), expected, "{because}");
    }
}

// Rule manager-6.
#[test]
fn what_has_no_place_is_said_with_its_field_and_what_has() {
    let cases = [
        ("concurency: 3", "concurency: ", "expected one of apiVersion, kind, concurrency"),
        ("writes: {perSecnd: 3}", "writes.perSecnd: ", "expected one of mode, perSecond, burst"),
        ("writes: {perSecond: many}", "writes.perSecond: ", "u32"),
        ("logging: {format: json}", "logging.format: ", "expected one of JSON, Text"),
        ("leaderElection: {leaseDuration: 15}", "leaderElection.leaseDuration: ", "unit"),
        ("nodePool: {localDNSAddress: dns}", "nodePool.localDNSAddress: ", "IP address"),
        ("writes: [", "", ""),
    ];
    for (rest, field, words) in cases {
        let said = invalid(rest);
        assert!(said.starts_with(field) && said.contains(words) && !said.contains('\n'), "{said}");
    }
    let other = OperatorConfiguration::try_new("apiVersion: v1\nkind: ConfigMap").unwrap_err().to_string();
    assert!(other.starts_with("apiVersion: ") && other.contains("config.stowage.dev/v1alpha1"), "{other}");
    let empty = OperatorConfiguration::try_new("").unwrap_err().to_string();
    assert!(empty.contains("apiVersion"), "{empty}");
}

// Rule manager-6.
#[test]
fn all_that_is_wrong_is_said_at_once() {
    let said = invalid("concurrency: 0\nwrites: {perSecond: 0, burst: 0}");
    assert_eq!(said.matches(" is out of bounds").count(), 3, "{said}");
}
