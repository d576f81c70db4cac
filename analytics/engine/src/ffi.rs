//! The engine's C interface, made safe.
//!
//! In: a library that exports chDB's C functions (`chdb.h` of the pinned version). Out: [`Connection`], which runs one
//! statement at a time, streams results and takes streamed inserts. All unsafe code of the crate is here.
//!
//! Must never: unload the library (its threads outlive any call), use one connection from two threads at once (`&mut self`
//! everywhere), or hand out memory of the engine (results are copied).

#![expect(unsafe_code, reason = "calls into the engine's C library; every block says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};

use bytes::Bytes;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::failure::{Failure, code};

/// The library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The dynamic linker refused the file.
    #[error(
        "{path} cannot be loaded as the embedded ClickHouse engine: {source}; run `make engine` to fetch it again"
    )]
    Open {
        /// The library's path.
        path: PathBuf,
        /// The linker's words.
        source: libloading::Error,
    },
    /// It is a library, but of something else or of another version.
    #[error("{path} lacks the function {symbol}: it is not the pinned engine; run `make engine`")]
    Symbol {
        /// The library's path.
        path: PathBuf,
        /// The missing function.
        symbol: &'static str,
    },
}

/// `chdb_connection`: an opaque pointer to one connection's state.
type RawConnection = *mut c_void;
type RawResult = *mut c_void;
type RawInsert = *mut c_void;
/// A call with text, text length, format, format length, then names, name lengths, values, value lengths and their count.
type Call = unsafe extern "C" fn(
    RawConnection,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> *mut c_void;

/// `chdb_query_analysis_v1`; `size` tells the engine which fields there is room for.
#[repr(C)]
#[derive(Default)]
struct RawAnalysis {
    size: u32,
    statements: u32,
    flags: u32,
    class: u32,
}

macro_rules! functions {
    ($($name:ident: $type:ty = $symbol:literal;)*) => {
        /// The functions in use, resolved once.
        struct Functions { $($name: $type),* }

        impl Functions {
            fn resolve(library: &Library, path: &Path) -> Result<Self, LoadError> {
                Ok(Self { $(
                    // SAFETY: the symbol is read as the type that `chdb.h` of the pinned version declares for it.
                    $name: *unsafe { library.get::<$type>(concat!($symbol, "\0")) }
                        .map_err(|_| LoadError::Symbol { path: path.into(), symbol: $symbol })?
                ),* })
            }
        }
    };
}

functions! {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut RawConnection = "chdb_connect";
    close: unsafe extern "C" fn(*mut RawConnection) = "chdb_close_conn";
    query: Call = "chdb_query_with_params_n";
    stream: Call = "chdb_stream_query_with_params_n";
    fetch: unsafe extern "C" fn(RawConnection, RawResult) -> RawResult = "chdb_stream_fetch_result";
    cancel: unsafe extern "C" fn(RawConnection, RawResult) = "chdb_stream_cancel_query";
    destroy: unsafe extern "C" fn(RawResult) = "chdb_destroy_query_result";
    insert: Call = "chdb_stream_insert_with_params_n";
    append: unsafe extern "C" fn(RawInsert, *const c_void, usize) -> c_int = "chdb_stream_append";
    done: unsafe extern "C" fn(RawInsert) -> RawResult = "chdb_stream_done";
    insert_error: unsafe extern "C" fn(RawInsert) -> *const c_char = "chdb_stream_insert_error";
    destroy_insert: unsafe extern "C" fn(RawInsert) = "chdb_destroy_insert_stream";
    buffer: unsafe extern "C" fn(RawResult) -> *const u8 = "chdb_result_buffer";
    length: unsafe extern "C" fn(RawResult) -> usize = "chdb_result_length";
    error: unsafe extern "C" fn(RawResult) -> *const c_char = "chdb_result_error";
    rows_read: unsafe extern "C" fn(RawResult) -> u64 = "chdb_result_storage_rows_read";
    bytes_read: unsafe extern "C" fn(RawResult) -> u64 = "chdb_result_storage_bytes_read";
    rows_written: unsafe extern "C" fn(RawResult) -> u64 = "chdb_result_rows_written";
    bytes_written: unsafe extern "C" fn(RawResult) -> u64 = "chdb_result_bytes_written";
    classify: unsafe extern "C" fn(RawConnection, *const c_char, usize, *const c_char, usize, *mut RawAnalysis) -> c_int
        = "chdb_classify_query_n";
    set_signal_handlers: unsafe extern "C" fn(c_int) = "chdb_set_signal_handlers_enabled";
    shutdown: unsafe extern "C" fn() -> c_int = "chdb_shutdown";
}

/// The loaded engine library.
pub(crate) struct Engine {
    functions: Functions,
    _library: ManuallyDrop<Library>,
}

/// What a statement does, as the engine's own parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Leaves no trace: SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK.
    Reads,
    /// Changes data or schema.
    Writes,
    /// Changes things beside the databases: users, named collections, functions.
    WritesGlobally,
    /// Session, process or file business: SET, USE, SYSTEM, KILL, INTO OUTFILE, INSERT INTO FUNCTION.
    Controls,
    /// Did not parse.
    Unknown,
}

/// How many statements a text holds and what the gravest of them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Analysis {
    pub(crate) statements: u32,
    pub(crate) class: Class,
}

/// Row and byte counts of a finished statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) rows_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) rows_written: u64,
    pub(crate) bytes_written: u64,
}

impl Engine {
    /// Loads the library for the rest of the process's life and keeps it from installing signal handlers.
    pub(crate) fn load(path: &Path) -> Result<&'static Self, LoadError> {
        // SAFETY: loading runs the library's initialisers; the file is the pinned engine, installed by its integrity hash,
        // or one the user named. It is never unloaded, so its termination routines run at process exit only.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|source| LoadError::Open { path: path.into(), source })?;
        let functions = Functions::resolve(&library, path)?;
        // SAFETY: takes a flag, is called before the first connection as the header asks.
        unsafe { (functions.set_signal_handlers)(0) };
        Ok(Box::leak(Box::new(Self { functions, _library: ManuallyDrop::new(library) })))
    }

    /// Opens a connection; the first one boots the engine with its arguments. `None` when the engine refuses, for which it
    /// gives no reason.
    pub(crate) fn connect(&'static self, arguments: &[CString]) -> Option<Connection> {
        let mut argv: Vec<*mut c_char> =
            arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
        // SAFETY: `argv` holds as many NUL-terminated strings as told, alive during the call; the engine copies and does
        // not write to them.
        let handle = unsafe { (self.functions.connect)(argv.len() as c_int, argv.as_mut_ptr()) };
        NonNull::new(handle).map(|handle| Connection { engine: self, handle })
    }

    /// Stops the engine's threads. `false` while a connection is open. No connection can be opened afterwards.
    pub(crate) fn shutdown(&self) -> bool {
        // SAFETY: no arguments; the header allows it from any thread and more than once.
        unsafe { (self.functions.shutdown)() == 0 }
    }
}

/// One connection: a session of its own that runs one statement at a time. Closed when dropped.
pub(crate) struct Connection {
    engine: &'static Engine,
    handle: NonNull<RawConnection>,
}

// SAFETY: the engine runs statements on threads of its own and binds nothing to the calling thread; exclusive use is
// ensured by `&mut self` on every method that reaches the engine.
unsafe impl Send for Connection {}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the handle came from `connect` and is closed once; borrowed streams ended before, by their lifetimes.
        unsafe { (self.engine.functions.close)(self.handle.as_ptr()) };
    }
}

impl Connection {
    fn raw(&self) -> RawConnection {
        // SAFETY: the handle points to the connection pointer for as long as `self` lives.
        unsafe { *self.handle.as_ptr() }
    }

    fn call(&self, call: Call, sql: &str, format: &str, params: &[(String, String)]) -> *mut c_void {
        let pointers = |pick: fn(&(String, String)) -> &String| -> (Vec<*const c_char>, Vec<usize>) {
            params.iter().map(pick).map(|text| (text.as_ptr().cast(), text.len())).unzip()
        };
        let (names, name_lengths) = pointers(|param| &param.0);
        let (values, value_lengths) = pointers(|param| &param.1);
        // SAFETY: each pointer goes with its length and lives during the call; the engine copies what it keeps, as the
        // header says. The connection is open.
        unsafe {
            call(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                params.len(),
            )
        }
    }

    /// Parses without running.
    pub(crate) fn analyze(&mut self, sql: &str) -> Analysis {
        let mut raw =
            RawAnalysis { size: size_of::<RawAnalysis>() as u32, class: u32::MAX, ..RawAnalysis::default() };
        // SAFETY: text with its length, no target database, and a struct of the size it states.
        let state = unsafe {
            (self.engine.functions.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                ptr::null(),
                0,
                &raw mut raw,
            )
        };
        let class = match raw.class {
            _ if state != 0 => Class::Unknown,
            0 => Class::Reads,
            1 => Class::Writes,
            2 => Class::WritesGlobally,
            3 => Class::Controls,
            _ => Class::Unknown,
        };
        Analysis { statements: raw.statements, class }
    }

    /// Runs a statement and returns its whole output.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        format: &str,
        params: &[(String, String)],
    ) -> Result<(Bytes, Counts), Failure> {
        let raw = self.call(self.engine.functions.query, sql, format, params);
        let output = Output::own(self.engine, raw)?;
        Ok((output.copy(), output.counts()))
    }

    /// Starts a SELECT whose output comes in chunks.
    pub(crate) fn stream(
        &mut self,
        sql: &str,
        format: &str,
        params: &[(String, String)],
    ) -> Result<Rows<'_>, Failure> {
        let raw = self.call(self.engine.functions.stream, sql, format, params);
        let result = Output::own(self.engine, raw)?;
        Ok(Rows { connection: self, result, ended: false })
    }

    /// Starts an INSERT that takes its data in chunks. `sql` holds neither FORMAT nor VALUES.
    pub(crate) fn insert(
        &mut self,
        sql: &str,
        format: &str,
        params: &[(String, String)],
    ) -> Result<Insert<'_>, Failure> {
        let raw = self.call(self.engine.functions.insert, sql, format, params);
        let handle = NonNull::new(raw).ok_or_else(no_answer)?;
        let insert = Insert { engine: self.engine, handle, connection: PhantomData };
        match insert.error() {
            Some(failure) => Err(failure),
            None => Ok(insert),
        }
    }
}

/// One result of the engine; destroyed when dropped.
struct Output {
    engine: &'static Engine,
    handle: NonNull<c_void>,
}

impl Output {
    /// Takes a result, or its failure.
    fn own(engine: &'static Engine, raw: RawResult) -> Result<Self, Failure> {
        let output = Self { engine, handle: NonNull::new(raw).ok_or_else(no_answer)? };
        // SAFETY: the result is alive; the error, when there is one, is a NUL-terminated string that lives as long.
        match unsafe { text((engine.functions.error)(output.handle.as_ptr())) } {
            Some(message) => Err(Failure::from_engine(&message)),
            None => Ok(output),
        }
    }

    fn copy(&self) -> Bytes {
        let raw = self.handle.as_ptr();
        // SAFETY: the result is alive; buffer and length describe one region, which is null or empty when there is none.
        unsafe {
            let (start, length) = ((self.engine.functions.buffer)(raw), (self.engine.functions.length)(raw));
            if start.is_null() || length == 0 {
                return Bytes::new();
            }
            Bytes::copy_from_slice(std::slice::from_raw_parts(start, length))
        }
    }

    fn counts(&self) -> Counts {
        let (raw, functions) = (self.handle.as_ptr(), &self.engine.functions);
        // SAFETY: plain getters on a result that is alive.
        unsafe {
            Counts {
                rows_read: (functions.rows_read)(raw),
                bytes_read: (functions.bytes_read)(raw),
                rows_written: (functions.rows_written)(raw),
                bytes_written: (functions.bytes_written)(raw),
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: owned and destroyed once.
        unsafe { (self.engine.functions.destroy)(self.handle.as_ptr()) };
    }
}

/// A running SELECT. Dropping it cancels what is left.
pub(crate) struct Rows<'connection> {
    connection: &'connection mut Connection,
    result: Output,
    ended: bool,
}

impl Rows<'_> {
    /// The next chunk in the statement's format, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let engine = self.connection.engine;
        // SAFETY: connection and stream are alive and used by this thread only.
        let raw = unsafe { (engine.functions.fetch)(self.connection.raw(), self.result.handle.as_ptr()) };
        let chunk = Output::own(engine, raw).inspect_err(|_| self.ended = true)?.copy();
        self.ended = chunk.is_empty();
        Ok((!self.ended).then_some(chunk))
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: connection and stream are alive; the stream is destroyed after this by its own drop.
            unsafe {
                (self.connection.engine.functions.cancel)(self.connection.raw(), self.result.handle.as_ptr());
            };
        }
    }
}

/// A running INSERT. Dropping it before `finish` abandons what was not committed.
pub(crate) struct Insert<'connection> {
    engine: &'static Engine,
    handle: NonNull<c_void>,
    connection: PhantomData<&'connection mut Connection>,
}

impl Insert<'_> {
    /// Appends a chunk of data; may block while the engine catches up. Chunks may be cut anywhere.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Failure> {
        // SAFETY: the stream is alive; the engine copies the chunk before it returns.
        let state =
            unsafe { (self.engine.functions.append)(self.handle.as_ptr(), data.as_ptr().cast(), data.len()) };
        if state == 0 { Ok(()) } else { Err(self.error().unwrap_or_else(no_answer)) }
    }

    /// Ends the data and commits.
    pub(crate) fn finish(self) -> Result<Counts, Failure> {
        // SAFETY: the stream is alive and finalised once, as `finish` consumes it.
        let raw = unsafe { (self.engine.functions.done)(self.handle.as_ptr()) };
        Ok(Output::own(self.engine, raw)?.counts())
    }

    fn error(&self) -> Option<Failure> {
        // SAFETY: the stream is alive; the message, when there is one, is NUL-terminated and lives as long.
        unsafe { text((self.engine.functions.insert_error)(self.handle.as_ptr())) }
            .map(|message| Failure::from_engine(&message))
    }
}

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        // SAFETY: owned and destroyed once; the engine cancels first when it was not finalised.
        unsafe { (self.engine.functions.destroy_insert)(self.handle.as_ptr()) };
    }
}

/// Copies a C string.
///
/// # Safety
/// `raw` is null or points to a NUL-terminated string that lives during the call.
unsafe fn text(raw: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    (!raw.is_null()).then(|| unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned())
}

fn no_answer() -> Failure {
    Failure::new(code::LOGICAL_ERROR, "the engine gave no answer. (LOGICAL_ERROR)")
}
