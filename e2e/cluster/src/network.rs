//! The cluster's network: one switch in a namespace of its own, a cable to each machine, a fixed range of pod addresses
//! and one route for each node. Nothing of the machine's own network is touched, and no way leads out.
//!
//! Every cluster has a switch of its own, so all clusters use the same addresses.

use std::net::Ipv4Addr;

use crate::{
    error::Result,
    host::{Host, network_of},
};

/// Addresses of pods on real nodes.
pub(crate) const PODS: &str = "10.244.0.0/16";
/// Addresses of pods on kwok's nodes, which nothing answers on.
pub(crate) const FAKE_PODS: &str = "10.245.0.0/16";
/// Addresses of Services.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// The Service of the API server: the first address of [`SERVICES`].
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Where pods ask for names, by convention.
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The switch, every machine's default route.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);
/// The control plane.
pub(crate) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 2);

/// A bridge takes the lowest address of its ports; when that port goes, neighbours keep a stale one and lose packets.
const BRIDGE_ADDRESS: &str = "02:00:0a:5a:00:01";

/// The address of node `number`, counted from 1.
pub(crate) fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 90, 0, 10_u8.saturating_add(number))
}

/// The address of virtual node `number`, counted from 1: no more than [`crate::NODES_LIMIT`] of them either.
pub(crate) fn virtual_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 90, 0, 100_u8.saturating_add(number))
}

/// The addresses of the pods of node `number`.
pub(crate) fn pod_range(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// Whether a machine's cable is in the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cable {
    In,
    Out,
}

/// The switch: a machine with a bridge.
pub(crate) struct Switch<'a>(pub(crate) &'a Host);

impl Switch<'_> {
    /// Makes the bridge of a machine that has just started.
    pub(crate) fn set_up(&self) -> Result<()> {
        let Self(host) = self;
        self.ip(&["link", "set", "lo", "up"])?;
        self.ip(&["link", "add", "br0", "address", BRIDGE_ADDRESS, "type", "bridge"])?;
        self.ip(&["addr", "add", &format!("{GATEWAY}/24"), "dev", "br0"])?;
        self.ip(&["link", "set", "br0", "up"])?;
        // Machines reach pods of others through the switch although both hang on one bridge: no advice about it.
        for setting in ["ip_forward=1", "conf.all.send_redirects=0", "conf.br0.send_redirects=0"] {
            host.sysctl(&format!("net.ipv4.{setting}"))?;
        }
        Ok(())
    }

    /// Gives `host` a cable to the switch and an address.
    pub(crate) fn connect(&self, host: &Host, address: Ipv4Addr) -> Result<()> {
        let port = port(&host.name);
        let peer = network_of(host.init);
        self.ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &peer])?;
        self.ip(&["link", "set", &port, "master", "br0", "up"])?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        host.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]).map(drop)
    }

    /// Sends the packets for the pods of a node to it.
    pub(crate) fn route(&self, pods: &str, node: Ipv4Addr) -> Result<()> {
        self.ip(&["route", "replace", pods, "via", &node.to_string()])
    }

    /// Pulls the cable of a machine out of the switch, or puts it in again.
    ///
    /// The machine's side keeps its carrier, so that, as in a real partition, nobody is told: packets just do not arrive.
    pub(crate) fn plug(&self, name: &str, cable: Cable) -> Result<()> {
        match cable {
            Cable::In => self.ip(&["link", "set", &port(name), "master", "br0"]),
            Cable::Out => self.ip(&["link", "set", &port(name), "nomaster"]),
        }
    }

    /// Whether the cable of a running machine is in the switch.
    pub(crate) fn cable(&self, name: &str) -> Result<Cable> {
        let link = self.0.ip(&["-oneline", "link", "show", "dev", &port(name)])?;
        Ok(if link.contains(" master br0 ") { Cable::In } else { Cable::Out })
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        self.0.ip(arguments).map(drop)
    }
}

/// The switch's end of a machine's cable; an interface name has at most 15 bytes.
fn port(host: &str) -> String {
    format!("v-{}", host.get(..13).unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec::NODES_LIMIT;

    // Rule cluster-8.
    #[test]
    fn every_node_has_an_address_and_a_pod_range_of_its_own() {
        let numbers = 1..=NODES_LIMIT;
        let nodes = numbers.clone().map(node_address).chain(numbers.clone().map(virtual_address));
        let addresses: BTreeSet<_> = nodes.chain([GATEWAY, CONTROL_PLANE]).collect();
        let ranges: BTreeSet<_> = numbers.map(pod_range).collect();
        assert_eq!((addresses.len(), ranges.len()), (130, 64));
    }

    #[test]
    fn the_name_of_a_port_fits_an_interface() {
        assert_eq!(port("n1"), "v-n1");
        assert_eq!(port("control-plane"), "v-control-plane");
        assert_eq!(port("control-plane").len(), 15);
    }
}
