//! What the caller decides about a compilation.

/// The controller name that GatewayClasses name to be ours.
pub const CONTROLLER_NAME: &str = "turnpike.dev/gateway-controller";

/// How to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `spec.controllerName` of the GatewayClasses that are ours.
    pub controller_name: String,
    /// All Gateways share one process, as on one machine: their listeners must not claim the same port and
    /// hostname. The older Gateway wins.
    pub shared_ports: bool,
    /// The present, seconds since 1970: only to warn about certificates that are expired or not yet valid. `None`
    /// judges no time.
    pub now: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_name: CONTROLLER_NAME.to_owned(), shared_ports: true, now: None }
    }
}
