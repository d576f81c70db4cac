//! What the caller decides about a compilation.

/// The controller name that GatewayClasses name to be ours.
pub const CONTROLLER_NAME: &str = "turnpike.dev/gateway-controller";

/// How to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `spec.controllerName` of the GatewayClasses that are ours.
    pub controller_name: String,
    /// Each Gateway has processes of its own, run like this. None: all Gateways share one process, as on one machine,
    /// and their listeners must not claim the same port and hostname; the older Gateway wins.
    pub runtime: Option<Runtime>,
    /// The present, seconds since 1970: only to warn about certificates that are expired or not yet valid. `None`
    /// judges no time.
    pub now: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_name: CONTROLLER_NAME.to_owned(), runtime: None, now: None }
    }
}

impl Options {
    /// All that what is served depends on: time passes in warnings only.
    pub(crate) fn timeless(&self) -> Self {
        Self { now: None, ..self.clone() }
    }

    /// Whether all Gateways share one process.
    pub(crate) fn shared_ports(&self) -> bool {
        self.runtime.is_none()
    }
}

/// How gateway processes are run in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Container image.
    pub image: String,
    /// URL of the operator's snapshot stream, as Pods reach it.
    pub operator: String,
    /// URL where usage goes; none: it stays in each Pod's spool.
    pub analytics: Option<String>,
    /// Make cert-manager Certificates for Gateways with its annotations, where its own Gateway API support is off.
    pub certificates: bool,
    /// Whether fleets can scale by requests: somebody serves [`crate::REQUESTS_PER_SECOND`] and
    /// [`crate::REQUESTS_IN_FLIGHT`] as external metrics.
    pub external_metrics: bool,
}
