//! Real partners in place of mocks: programs of other projects that receive our alerts and spans, send us HTTP/2 and
//! gRPC, and read our store. `build.sh` builds each once; what it builds is pinned in the folder of its name.

mod alertmanager;
mod clickhouse;
mod grpc;
mod h2spec;
mod partner;
mod resources;
mod traces;
mod webhook;
