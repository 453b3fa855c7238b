//! Where health and metrics are served.

use std::{
    io::{Error, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::io::Errno;
use tokio::net::TcpListener;

/// Listens at `address`. All addresses of both families, `[::]`, are those of IPv4 alone where the kernel has no IPv6.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    bound(address, TcpListener::bind).await
}

async fn bound<T>(
    address: SocketAddr,
    bind: impl AsyncFn(SocketAddr) -> Result<T, Error>,
) -> Result<T, String> {
    let named = |address: SocketAddr| move |error: Error| format!("cannot listen on {address}: {error}");
    match bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            let older = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(older).await.map_err(named(older))
        }
        bound => bound.map_err(named(address)),
    }
}

/// The kernel was built or started without IPv6, or has it switched off.
fn is_without_ipv6(error: &Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule manager-1.
    #[tokio::test]
    async fn without_ipv6_all_addresses_are_those_of_ipv4_and_others_fail_as_they_did() {
        let cases = [
            ("[::]:7", Errno::AFNOSUPPORT, Ok("0.0.0.0:7"), "built or started without it"),
            ("[::]:7", Errno::ADDRNOTAVAIL, Ok("0.0.0.0:7"), "switched off"),
            ("[::]:7", Errno::ADDRINUSE, Err("cannot listen on [::]:7"), "another listens there"),
            ("[::1]:7", Errno::ADDRNOTAVAIL, Err("cannot listen on [::1]:7"), "one address was asked for"),
        ];
        for (address, fault, expected, because) in cases {
            let bind = async |address: SocketAddr| match address {
                SocketAddr::V4(_) => Ok(address.to_string()),
                SocketAddr::V6(_) => Err(Error::from_raw_os_error(fault.raw_os_error())),
            };
            match (bound(address.parse().unwrap(), bind).await, expected) {
                (Ok(found), expected) => assert_eq!(Ok(found.as_str()), expected, "{because}"),
                (Err(found), Err(begin)) => assert!(found.starts_with(begin), "{because}: {found}"),
                (Err(found), Ok(_)) => panic!("{because}: {found}"),
            }
        }
    }
}
