//! The operator's shell: Kubernetes in, snapshots, child objects and statuses out.
//!
//! Watches feed one set of resources; a step compiles it (`operator-compile`), applies the children of each fleet by
//! server-side apply, publishes each fleet's snapshot to its gateways over a stream, and patches the statuses that
//! changed. Decisions are made in `operator-compile`; nothing here looks into a route.
