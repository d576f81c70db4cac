//! Bare pingora-proxy as a peer: everything to one upstream, nothing else.
//!
//!   pingora UPSTREAM PLAIN TLS CERTIFICATE KEY      addresses and files
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for a benchmark")]

use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// As in the program that is shipped.
use gateway_program as _;

struct Bare(String);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&*self.0, false, String::new())))
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [upstream, plain, secure, certificate, key] = words.as_slice() else {
        // `cargo bench` runs all: without an upstream there is nothing to serve.
        return println!("usage: pingora UPSTREAM PLAIN TLS CERTIFICATE KEY");
    };
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 4096, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&Arc::clone(&server.configuration), Bare(upstream.clone()));
    proxy.add_tcp(plain);
    let mut tls = TlsSettings::intermediate(certificate, key).unwrap();
    tls.enable_h2();
    proxy.add_tls_with_settings(secure, None, tls);
    server.add_service(proxy);
    server.run_forever();
}
