//! More parts as programs of their own: `turnpike analytics`, `turnpike engine`.

use std::net::SocketAddr;
use std::path::PathBuf;

use analytics_service::{CatalogSource, Operator};
use gateway_program::{address, announce, shutdown, token};

/// Secrets come from the environment: a command line is visible to every user of the machine.
const CLICKHOUSE_PASSWORD: &str = "TURNPIKE_CLICKHOUSE_PASSWORD";

#[derive(Debug, clap::Args)]
pub(crate) struct AnalyticsArgs {
    /// Address of the API and the console.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address::listen)]
    listen: SocketAddr,
    /// Folder for quotas and alerts.
    #[arg(long)]
    state: PathBuf,
    /// Catalog file to follow.
    #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
    catalog: Option<PathBuf>,
    /// URL of the operator that gives the catalog, such as <https://turnpike-operator.turnpike-system:9443>.
    #[arg(long, requires = "identity")]
    operator: Option<String>,
    /// Address for gateways that show certificates of the operator's CA.
    #[arg(long, requires = "identity", value_parser = address::listen)]
    gateways_listen: Option<SocketAddr>,
    /// Folder with tls.crt, tls.key and ca.crt, by which this process, the operator and gateways know each other.
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Base URL of ClickHouse, or of `turnpike engine`.
    #[arg(long)]
    clickhouse: String,
    /// User of that ClickHouse; its password is read from `TURNPIKE_CLICKHOUSE_PASSWORD`. Without one, the token of
    /// the parts is shown, as `turnpike engine` wants it.
    #[arg(long)]
    clickhouse_user: Option<String>,
    /// ClickHouse was started just now, so no insert of an earlier life can be running in it.
    #[arg(long, hide = true)]
    fresh_store: bool,
}

pub(crate) async fn analytics(args: AnalyticsArgs) -> anyhow::Result<()> {
    let token = token()?;
    let mut options = analytics_service::Options::new(token.clone(), args.clickhouse, args.state);
    options.listen = args.listen;
    let identity = args.identity.unwrap_or_default();
    options.catalog = match (args.catalog, args.operator) {
        (Some(path), _) => Some(CatalogSource::File(path)),
        (None, url) => url.map(|url| CatalogSource::Operator(Operator { url, identity: identity.clone() })),
    };
    options.gateways = args.gateways_listen.map(|address| (address, identity));
    options.clickhouse_token = match &args.clickhouse_user {
        Some(_) => std::env::var(CLICKHOUSE_PASSWORD).ok(),
        None => Some(token),
    };
    options.clickhouse_user = args.clickhouse_user;
    options.fresh_store = args.fresh_store;
    Ok(analytics_service::run(options, shutdown(), announce).await?)
}

#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Address of the ClickHouse HTTP interface.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = address::listen)]
    listen: SocketAddr,
    /// Folder of the data.
    #[arg(long)]
    path: PathBuf,
    /// The engine's library, when it is not where `make engine` puts it.
    #[arg(long, env = "TURNPIKE_ENGINE_LIB")]
    lib: Option<PathBuf>,
}

impl EngineArgs {
    fn options(&self) -> analytics_engine::Options {
        let mut options = analytics_engine::Options::new(&self.path);
        options.listen = self.listen;
        options.lib.clone_from(&self.lib);
        options
    }
}

/// Before the process has other threads: statements reach no file but the engine's own.
pub(crate) fn confine_engine(args: &EngineArgs) -> anyhow::Result<()> {
    analytics_engine::confine(&args.options())?;
    Ok(())
}

pub(crate) async fn engine(args: EngineArgs) -> anyhow::Result<()> {
    let mut options = args.options();
    options.token = Some(token()?);
    Ok(analytics_engine::run(options, shutdown(), announce).await?)
}
