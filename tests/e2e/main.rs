//! The whole product as a user runs it: one folder of YAML, real requests, real records.

mod change;
mod example;
