//! `turnpike operator`: from Kubernetes resources to fleets of gateways.

use std::net::SocketAddr;

use gateway_program::{address, announce, shutdown};
use operator_compile::{CONTROLLER_NAME, Runtime};

/// Run the operator: it turns the Gateways of a cluster into fleets of gateways.
///
/// It uses the cluster of the environment: the Pod's ServiceAccount, or KUBECONFIG.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address where gateways follow their snapshots.
    #[arg(long, default_value = "[::]:9443", value_parser = address::listen)]
    listen: SocketAddr,
    /// URL of that address as Pods reach it.
    #[arg(long, default_value = "https://turnpike-operator.turnpike-system.svc:9443")]
    advertise: String,
    /// Namespace of the operator's own Secrets.
    #[arg(long, env = "POD_NAMESPACE", default_value = "turnpike-system")]
    namespace: String,
    /// Name of this operator among others of the cluster, one of which writes; by default a random one.
    #[arg(long, env = "POD_NAME")]
    replica: Option<String>,
    /// Image of gateways.
    #[arg(long)]
    image: String,
    /// URL of analytics as Pods reach it; without it usage stays in each Pod's spool.
    #[arg(long)]
    analytics: Option<String>,
    /// Look only into this namespace and the operator's own; may be repeated. By default into all of the cluster.
    #[arg(long, value_name = "NAMESPACE")]
    watch: Vec<String>,
    /// `spec.controllerName` of the GatewayClasses to serve.
    #[arg(long, default_value = CONTROLLER_NAME)]
    controller_name: String,
    /// Make Certificates for Gateways with annotations of cert-manager: where that runs without its Gateway API support.
    #[arg(long)]
    certificates: bool,
    /// Address where the API server finds external metrics, for fleets that are scaled by their requests.
    #[arg(long, value_name = "ADDRESS", value_parser = address::listen)]
    external_metrics: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let options = operator_controller::Options {
        listen: args.listen,
        external_metrics: args.external_metrics,
        namespace: args.namespace,
        replica: args.replica,
        watch: args.watch,
        controller_name: args.controller_name,
        runtime: Runtime {
            image: args.image,
            operator: args.advertise,
            analytics: args.analytics,
            certificates: args.certificates,
            external_metrics: false,
        },
    };
    Ok(Box::pin(operator_controller::run(options, shutdown(), announce)).await?)
}
