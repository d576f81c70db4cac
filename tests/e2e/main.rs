//! The whole product as a user runs it: one folder of YAML, real requests, real records.

mod bad_input;
mod change;
mod example;
mod reload;
mod stop;
