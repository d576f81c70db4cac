//! The engine's configuration files: who may do what, and how much of the machine it may use.
//!
//! In: limits. Out: two XML files in the data folder. The one user is granted what a store needs and none of the engine's
//! ways to reach files, hosts or programs that need a grant (table functions and engines of that sort): the setting
//! `readonly` would not stop those. What needs no grant, such as the function `file`, is stopped by [`crate::confine`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::options::Limits;

/// What a store needs. `SOURCES` is left out on purpose.
const GRANTS: &str = "SHOW DATABASES, SHOW TABLES, SHOW COLUMNS, SELECT, INSERT, ALTER TABLE, ALTER VIEW, ALTER DATABASE, \
    CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, CREATE FUNCTION, \
    DROP DATABASE, DROP TABLE, DROP VIEW, DROP FUNCTION, \
    UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY, SYSTEM MERGES, SYSTEM DROP CACHE";

/// Writes both files and returns the path of the main one, for `--config-file`.
pub(crate) fn write(folder: &Path, limits: &Limits) -> io::Result<PathBuf> {
    let users = folder.join("engine-users.xml");
    let main = folder.join("engine.xml");
    fs::write(&users, users_xml(limits))?;
    fs::write(&main, main_xml(&users, limits))?;
    Ok(main)
}

fn main_xml(users: &Path, limits: &Limits) -> String {
    format!(
        "<clickhouse>\n\
         <users_config>{users}</users_config>\n\
         <timezone>UTC</timezone>\n\
         <max_server_memory_usage>{memory}</max_server_memory_usage>\n\
         <mark_cache_size>{cache}</mark_cache_size>\n\
         <uncompressed_cache_size>0</uncompressed_cache_size>\n\
         </clickhouse>\n",
        users = escape(&users.to_string_lossy()),
        memory = limits.engine_memory,
        cache = limits.engine_memory / 16,
    )
}

fn users_xml(limits: &Limits) -> String {
    // The least is more than 0, which would mean no bound.
    let bounded = [
        ("max_memory_usage", "1", limits.statement_memory.to_string()),
        ("max_execution_time", "0.001", limits.run.as_secs_f64().to_string()),
        ("max_result_bytes", "1", limits.result_bytes.to_string()),
    ];
    let values = bounded.each_ref().map(|(name, _, most)| format!("<{name}>{most}</{name}>\n")).concat();
    let bounds = bounded
        .map(|(name, least, most)| format!("<{name}><min>{least}</min><max>{most}</max></{name}>\n"))
        .concat();
    format!(
        "<clickhouse>\n\
         <profiles><default>\n\
         <async_insert>0</async_insert>\n\
         <implicit_select>0</implicit_select>\n\
         <result_overflow_mode>throw</result_overflow_mode>\n\
         {values}\
         <constraints>\n<async_insert><const/></async_insert>\n\
         <result_overflow_mode><const/></result_overflow_mode>\n{bounds}</constraints>\n\
         </default></profiles>\n\
         <quotas><default/></quotas>\n\
         <users><default>\n\
         <password></password><profile>default</profile><quota>default</quota>\n\
         <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>\n\
         <grants><query>GRANT {GRANTS} ON *.*</query></grants>\n\
         </default></users>\n\
         </clickhouse>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
