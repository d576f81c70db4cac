//! `turnpike up DIR`: the whole loop on one machine.

mod certificates;
mod child;
mod demo;
mod folder;
mod follow;
mod parts;
mod publish;
mod receiver;
mod session;
mod watch;

pub(crate) use publish::compile_folder;
pub(crate) use session::{Args, run};
