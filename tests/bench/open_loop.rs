//! Latency under a load that does not wait: requests are due at fixed times, whether the ones before are answered or not.
//!
//!   open_loop ADDRESS PATH KEY REQUESTS_PER_SECOND SECONDS
//!
//! In: an HTTP/1.1 server. Out: one line with the 50th, 99th and 99.9th percentile in microseconds and how many were
//! answered. 64 connections take turns. A request that is due while its connection still waits for an answer counts from
//! the moment it was due: nothing is left out because the server was slow. Anything but status 200 ends it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints a line")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CONNECTIONS: u32 = 64;
/// At the beginning: connections are made, caches are filled.
const NOT_COUNTED: Duration = Duration::from_millis(500);
/// An answer must come within this.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, path, key, rate, seconds] = words.as_slice() else {
        // `cargo bench` runs all: without a server there is nothing to measure.
        return println!("usage: open_loop ADDRESS PATH KEY REQUESTS_PER_SECOND SECONDS");
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: bench.example\r\nx-api-key: {key}\r\naccept: */*\r\n\r\n");
    let between = Duration::from_secs_f64(1.0 / rate.parse::<f64>().unwrap());
    let length = NOT_COUNTED + Duration::from_secs_f64(seconds.parse().unwrap());
    let start = Instant::now() + Duration::from_millis(100);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                let request = request.as_bytes();
                scope.spawn(move || {
                    call(address, request, (start + between * n, between * CONNECTIONS), length)
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    times.sort_unstable();
    let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!("{} {} {} {}", percentile(0.5), percentile(0.99), percentile(0.999), times.len());
}

/// One connection: requests due at `first` and every `between` after it.
fn call(
    address: &str,
    request: &[u8],
    (first, between): (Instant, Duration),
    length: Duration,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = vec![0; 1 << 17];
    let (mut due, mut times) = (first, Vec::new());
    while due < first + length {
        let idle = due.saturating_duration_since(Instant::now());
        std::thread::sleep(idle);
        // Sleeping too long is our fault, a connection that is not free yet is the server's.
        let begun = if idle.is_zero() { due } else { Instant::now() };
        stream.write_all(request).unwrap();
        answer(&mut stream, &mut buffer);
        if due >= first + NOT_COUNTED {
            times.push(begun.elapsed());
        }
        due += between;
    }
    times
}

/// Reads one whole answer.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(&buffer[..filled]) else { continue };
        assert_eq!(response.code, Some(200));
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length: usize = std::str::from_utf8(length.unwrap().value).unwrap().parse().unwrap();
        if filled >= head + length {
            return;
        }
    }
}
