//! Checks what nodes read at their start, and how long a drain may take.

use std::{
    collections::{BTreeMap, BTreeSet},
    time,
};

use stowage_api::{
    Duration, NodePoolSpec, Quantity, Size, Syntax, Sysctl, Threshold,
    condition::Reason,
    node_pool::{
        Bootstrap, ConntrackSettings, DRAIN_TIMEOUT_DEFAULT, DRAIN_TIMEOUT_RANGE, EVICTION_SIGNALS,
        IMAGE_GC_DEFAULTS, KubeProxySettings, KubeletSettings, RESERVABLE, SCRIPT_LIMIT, SYSCTLS_LIMIT,
    },
};

use super::{Rejection, at, check_length};

/// A number that may be set, by its name: what it is, and what it may be.
type Number = (&'static str, Option<i64>, i64, i64);

/// Checks `kubelet`, `kubeProxy` and `bootstrap`.
pub(crate) fn check(spec: &NodePoolSpec) -> Result<(), Rejection> {
    let NodePoolSpec { kubelet, kube_proxy, bootstrap, .. } = spec;
    check_kubelet(kubelet)?;
    check_kube_proxy(kube_proxy)?;
    let Bootstrap { script } = bootstrap;
    if script.len() > SCRIPT_LIMIT {
        return reject(
            "spec.bootstrap.script",
            format!(
                "must have at most {SCRIPT_LIMIT} bytes, because clouds take no more: have it fetch the rest"
            ),
        );
    }
    Ok(())
}

/// How long a drain may take; absent means the default.
pub(crate) fn check_drain_timeout(text: Option<&str>) -> Result<time::Duration, Rejection> {
    let field = "spec.drainTimeout";
    let (least, most) = DRAIN_TIMEOUT_RANGE;
    let timeout = check_duration(field, text.unwrap_or(DRAIN_TIMEOUT_DEFAULT))?;
    if timeout < check_duration(field, least)? || timeout > check_duration(field, most)? {
        return reject(field, format!("must be between {least} and {most}"));
    }
    Ok(timeout)
}

fn check_kubelet(kubelet: &KubeletSettings) -> Result<(), Rejection> {
    let KubeletSettings {
        max_pods,
        pod_pids_limit,
        cpu_manager_policy: _,
        topology_manager_policy: _,
        kube_api_qps,
        kube_api_burst,
        registry_pull_qps,
        registry_burst,
        serialize_image_pulls,
        max_parallel_image_pulls,
        allowed_unsafe_sysctls,
        container_log_max_size,
        container_log_max_files,
        image_gc_high_threshold_percent,
        image_gc_low_threshold_percent,
        system_reserved,
        kube_reserved,
        eviction_hard,
        shutdown_grace_period,
        shutdown_grace_period_critical_pods,
    } = kubelet;
    check_numbers(
        "spec.kubelet",
        &[
            ("maxPods", max_pods.map(i64::from), 1, i64::MAX),
            ("podPidsLimit", *pod_pids_limit, 1, i64::MAX),
            ("kubeAPIQPS", kube_api_qps.map(i64::from), 1, i64::MAX),
            ("kubeAPIBurst", kube_api_burst.map(i64::from), 1, i64::MAX),
            ("registryPullQPS", registry_pull_qps.map(i64::from), 0, i64::MAX),
            ("registryBurst", registry_burst.map(i64::from), 1, i64::MAX),
            ("maxParallelImagePulls", max_parallel_image_pulls.map(i64::from), 1, i64::MAX),
            ("containerLogMaxFiles", container_log_max_files.map(i64::from), 2, i64::MAX),
            ("imageGCHighThresholdPercent", image_gc_high_threshold_percent.map(i64::from), 0, 100),
            ("imageGCLowThresholdPercent", image_gc_low_threshold_percent.map(i64::from), 0, 100),
        ],
    )?;
    check_pulls(*max_parallel_image_pulls, *serialize_image_pulls)?;
    check_image_removal(*image_gc_high_threshold_percent, *image_gc_low_threshold_percent)?;
    check_sysctls(allowed_unsafe_sysctls)?;
    if let Some(size) = container_log_max_size {
        check_text("spec.kubelet.containerLogMaxSize", Size::try_new(size.as_str()))?;
    }
    check_amounts("spec.kubelet.systemReserved", system_reserved, &RESERVABLE, Quantity::try_new)?;
    check_amounts("spec.kubelet.kubeReserved", kube_reserved, &RESERVABLE, Quantity::try_new)?;
    check_amounts("spec.kubelet.evictionHard", eviction_hard, &EVICTION_SIGNALS, Threshold::try_new)?;
    check_shutdown(shutdown_grace_period.as_deref(), shutdown_grace_period_critical_pods.as_deref())
}

fn check_kube_proxy(kube_proxy: &KubeProxySettings) -> Result<(), Rejection> {
    let KubeProxySettings { conntrack } = kube_proxy;
    let ConntrackSettings { max_per_core, min, tcp_established_timeout, tcp_close_wait_timeout } = conntrack;
    check_numbers(
        "spec.kubeProxy.conntrack",
        &[("maxPerCore", max_per_core.map(i64::from), 0, i64::MAX), ("min", min.map(i64::from), 0, i64::MAX)],
    )?;
    for (name, text) in
        [("tcpEstablishedTimeout", tcp_established_timeout), ("tcpCloseWaitTimeout", tcp_close_wait_timeout)]
    {
        if let Some(text) = text {
            check_duration(&format!("spec.kubeProxy.conntrack.{name}"), text)?;
        }
    }
    Ok(())
}

fn check_numbers(parent: &str, numbers: &[Number]) -> Result<(), Rejection> {
    for (name, number, least, most) in numbers {
        let Some(number) = number else { continue };
        let problem = if number < least {
            format!("must be at least {least}")
        } else if number > most {
            format!("must be at most {most}")
        } else {
            continue;
        };
        return reject(&format!("{parent}.{name}"), problem);
    }
    Ok(())
}

fn check_pulls(parallel: Option<i32>, serialize: Option<bool>) -> Result<(), Rejection> {
    if parallel.is_some_and(|parallel| parallel > 1) && serialize != Some(false) {
        let problem = "must be 1 unless spec.kubelet.serializeImagePulls is false: set that";
        return reject("spec.kubelet.maxParallelImagePulls", problem);
    }
    Ok(())
}

fn check_image_removal(high: Option<i32>, low: Option<i32>) -> Result<(), Rejection> {
    let (default_high, default_low) = IMAGE_GC_DEFAULTS;
    if high.unwrap_or(default_high) <= low.unwrap_or(default_low) {
        let problem = format!(
            "must be more than spec.kubelet.imageGCLowThresholdPercent, and they are {default_high} and \
             {default_low} by default: set both"
        );
        return reject("spec.kubelet.imageGCHighThresholdPercent", problem);
    }
    Ok(())
}

fn check_sysctls(patterns: &[String]) -> Result<(), Rejection> {
    let field = "spec.kubelet.allowedUnsafeSysctls";
    check_length(Reason::InvalidSettings, field, patterns.len(), SYSCTLS_LIMIT)?;
    let mut seen = BTreeSet::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let field = format!("{field}[{index}]");
        check_text(&field, Sysctl::try_new(pattern.as_str()))?;
        if !seen.insert(pattern) {
            return reject(&field, "is there twice: remove it");
        }
    }
    Ok(())
}

fn check_amounts<T>(
    field: &str,
    amounts: &BTreeMap<String, String>,
    known: &[(&str, &str)],
    read: impl Fn(String) -> Result<T, Syntax>,
) -> Result<(), Rejection> {
    for (name, amount) in amounts {
        if !known.iter().any(|(known, _)| known == name) {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let problem = format!("is not known to the kubelet: use one of {}", names.join(", "));
            return reject(&at(field, name), problem);
        }
        check_text(&format!("{field}.{name}"), read(amount.clone()))?;
    }
    Ok(())
}

fn check_shutdown(whole: Option<&str>, critical: Option<&str>) -> Result<(), Rejection> {
    let field = "spec.kubelet.shutdownGracePeriodCriticalPods";
    let whole = whole.map(|text| check_grace_period("spec.kubelet.shutdownGracePeriod", text)).transpose()?;
    let critical = critical.map(|text| check_grace_period(field, text)).transpose()?;
    // None is less than any: a part of nothing.
    if critical.is_some() && critical > whole {
        let problem = "must be at most spec.kubelet.shutdownGracePeriod, of which it is a part: set both";
        return reject(field, problem);
    }
    Ok(())
}

fn check_grace_period(field: &str, text: &str) -> Result<time::Duration, Rejection> {
    let period = check_duration(field, text)?;
    if !period.is_zero() && period < time::Duration::from_secs(1) {
        return reject(field, "must be 0s or at least 1s");
    }
    Ok(period)
}

fn check_duration(field: &str, text: &str) -> Result<time::Duration, Rejection> {
    check_text(field, Duration::try_new(text)).map(Duration::get)
}

fn check_text<T>(field: &str, read: Result<T, Syntax>) -> Result<T, Rejection> {
    read.map_err(|syntax| Rejection::new(Reason::InvalidSettings, field, syntax.to_string()))
}

fn reject<T>(field: &str, problem: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection::new(Reason::InvalidSettings, field, problem.into()))
}

#[cfg(test)]
mod tests;
