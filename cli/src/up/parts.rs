//! The children of `up`: how each is started, and in which order they end.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::output::say;
use crate::state::{RunInfo, State};

use super::child::{Spec, Supervised};

/// What the children need to know.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) state: &'a State,
    pub(crate) snapshot: PathBuf,
    pub(crate) catalog: PathBuf,
    /// Address of analytics and the console.
    pub(crate) listen: String,
    /// Address that listeners bind.
    pub(crate) bind: IpAddr,
    /// Ports of listeners, and the ports that are bound for them.
    pub(crate) ports: Vec<(u16, u16)>,
    /// A ClickHouse of the user's, instead of the embedded engine.
    pub(crate) clickhouse: Option<String>,
    /// Its user.
    pub(crate) clickhouse_user: String,
    pub(crate) engine_lib: Option<PathBuf>,
    /// Where the demo's upstream listens, if there is a demo.
    pub(crate) upstream: Option<String>,
}

/// All running children.
#[derive(Debug)]
pub(crate) struct Parts {
    upstream: Option<Supervised>,
    engine: Option<Supervised>,
    analytics: Supervised,
    gateway: Supervised,
    clickhouse: String,
}

impl Plan<'_> {
    /// Starts engine, analytics and gateway, each when what it needs serves.
    pub(crate) async fn start(&self) -> anyhow::Result<Parts> {
        let token = self.state.token()?;
        let upstream = match &self.upstream {
            Some(address) => Some(launch(self.spec("upstream", "echo", address, vec![], &token)).await?),
            None => None,
        };
        let (engine, clickhouse) = self.store(&token).await?;
        let analytics = self.analytics(&clickhouse, &token).await?;
        let gateway = self.gateway(analytics.address(), &token).await?;
        Ok(Parts { upstream, engine, analytics, gateway, clickhouse })
    }

    async fn store(&self, token: &str) -> anyhow::Result<(Option<Supervised>, String)> {
        if let Some(url) = &self.clickhouse {
            return Ok((None, url.clone()));
        }
        let mut args = vec!["--path".into(), text(&self.state.path("engine"))];
        if let Some(lib) = &self.engine_lib {
            args.extend(["--lib".into(), text(lib)]);
        }
        let engine = launch(self.spec("engine", "engine", "127.0.0.1:0", args, token)).await?;
        let url = format!("http://{}", engine.address());
        Ok((Some(engine), url))
    }

    async fn analytics(&self, clickhouse: &str, token: &str) -> anyhow::Result<Supervised> {
        let mut args = vec![
            "--state".into(),
            text(&self.state.path("analytics")),
            "--catalog".into(),
            text(&self.catalog),
            "--clickhouse".into(),
            clickhouse.to_owned(),
        ];
        // Our token is for our engine: no other server ever sees it.
        if self.clickhouse.is_some() {
            args.extend(["--clickhouse-user".into(), self.clickhouse_user.clone()]);
        }
        let mut spec = self.spec("analytics", "analytics", &self.listen, args, token);
        if self.clickhouse.is_none() {
            spec.first_args = vec!["--fresh-store".into()];
        }
        launch(spec).await
    }

    async fn gateway(&self, analytics: &str, token: &str) -> anyhow::Result<Supervised> {
        let mut args = vec![
            "--snapshot".into(),
            text(&self.snapshot),
            "--state".into(),
            text(&self.state.path("gateway")),
            "--analytics".into(),
            format!("http://{analytics}"),
            "--bind".into(),
            self.bind.to_string(),
        ];
        for (listener, socket) in &self.ports {
            args.extend(["--port".into(), format!("{listener}={socket}")]);
        }
        launch(self.spec("gateway", "gateway", "127.0.0.1:0", args, token)).await
    }

    fn spec(&self, name: &'static str, command: &str, listen: &str, args: Vec<String>, token: &str) -> Spec {
        Spec {
            name,
            args: std::iter::once(command.to_owned()).chain(args).collect(),
            first_args: Vec::new(),
            listen: listen.to_owned(),
            log: self.state.path("log").join(format!("{name}.log")),
            env: vec![("TURNPIKE_TOKEN", token.to_owned())],
        }
    }
}

async fn launch(spec: Spec) -> anyhow::Result<Supervised> {
    let child = Supervised::start(spec).await?;
    say(&format!("  {:<10} pid {:<8} {}", child.name(), child.pid(), child.address()))?;
    Ok(child)
}

impl Parts {
    pub(crate) fn info(&self, resources: &Path) -> RunInfo {
        RunInfo {
            pid: std::process::id(),
            resources: resources.to_path_buf(),
            analytics: format!("http://{}", self.analytics.address()),
            admin: format!("http://{}", self.gateway.address()),
            engine: self.clickhouse.clone(),
        }
    }

    /// One word about lives, for people.
    pub(crate) fn summary(&self) -> String {
        let all = [self.engine.as_ref(), Some(&self.analytics), Some(&self.gateway), self.upstream.as_ref()];
        let restarts: u64 = all.into_iter().flatten().map(Supervised::restarts).sum();
        if restarts == 0 { String::new() } else { format!("{restarts} restarts of parts so far") }
    }

    /// Ends all of them: the gateway first, so that analytics is there to take its last segments.
    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
        self.analytics.stop().await;
        for child in [self.engine, self.upstream].into_iter().flatten() {
            child.stop().await;
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
