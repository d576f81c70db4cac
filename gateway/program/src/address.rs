//! Addresses to listen at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An IP address to bind. `::` stands for every address of both families, also where there is no IPv6.
pub fn bind(text: &str) -> Result<IpAddr, std::net::AddrParseError> {
    text.parse().map(|address| every(address, has_ipv6))
}

/// The same with a port.
pub fn listen(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    text.parse().map(|address: SocketAddr| SocketAddr::new(every(address.ip(), has_ipv6), address.port()))
}

fn every(address: IpAddr, has_ipv6: impl FnOnce() -> bool) -> IpAddr {
    if address == Ipv6Addr::UNSPECIFIED && !has_ipv6() { Ipv4Addr::UNSPECIFIED.into() } else { address }
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_those_of_ipv4_where_there_is_no_other() {
        let (four, six) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!((every(six, || true), every(six, || false), every(four, || false)), (six, four, four));
        let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(every(loopback, || false), loopback, "what was asked for by name is not replaced");
        assert_eq!(listen("[::1]:80").unwrap(), SocketAddr::new(loopback, 80));
    }
}
