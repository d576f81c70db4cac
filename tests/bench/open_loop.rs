//! Latency under a load that does not wait: requests are due at fixed times, whether the ones before are answered or not.
//!
//!   open_loop ADDRESS PATH KEY REQUESTS_PER_SECOND SECONDS
//!
//! In: an HTTP/1.1 server. Out: one line with the 50th, 99th and 99.9th percentile in microseconds and how many were
//! answered. 64 connections take turns, on one thread, which a timer of the system wakes: it must cost less than what it
//! measures. A request that is due while its connection still waits for an answer counts from the moment it was due:
//! nothing is left out because the server was slow. Anything but status 200 ends it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints a line")]

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const CONNECTIONS: usize = 64;
/// At the beginning: connections are made, caches are filled.
const NOT_COUNTED: Duration = Duration::from_millis(500);
/// All answers must come within this, after the last request.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, path, key, rate, seconds] = words.as_slice() else {
        // `cargo bench` runs all: without a server there is nothing to measure.
        return println!("usage: open_loop ADDRESS PATH KEY REQUESTS_PER_SECOND SECONDS");
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: bench.example\r\nx-api-key: {key}\r\naccept: */*\r\n\r\n");
    let between = Duration::from_secs_f64(1.0 / rate.parse::<f64>().unwrap());
    let length = NOT_COUNTED + Duration::from_secs_f64(seconds.parse().unwrap());
    let (mut due, mut callers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, receiver) = unbounded_channel();
        due.push(sender);
        callers.push(tokio::spawn(call(stream, request.clone().into_bytes(), receiver)));
    }
    let start = Instant::now();
    let (mut next, mut free) = (start, due.iter().cycle());
    every(between, |now| {
        while next <= now {
            free.next().unwrap().send((next, next >= start + NOT_COUNTED)).unwrap();
            next += between;
        }
        next < start + length
    })
    .await;
    drop(due);
    let mut times = Vec::new();
    for caller in callers {
        times.extend(tokio::time::timeout(PATIENCE, caller).await.unwrap().unwrap());
    }
    times.sort_unstable();
    let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!("{} {} {} {}", percentile(0.5), percentile(0.99), percentile(0.999), times.len());
}

/// Does `work` once in each period, or once for several where the thread was late, until it gives false.
async fn every(period: Duration, mut work: impl FnMut(Instant) -> bool) {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK).unwrap();
    let period = Timespec::try_from(period).unwrap();
    let setting = Itimerspec { it_interval: period, it_value: period };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting).unwrap();
    #[expect(unsafe_code, reason = "the runtime must be promised that the descriptor stays open")]
    // SAFETY: the descriptor is the timer's own, and nothing closes it before both end.
    let timer: AsyncFd<OwnedFd> = unsafe { AsyncFd::register(timer) }.unwrap();
    while work(Instant::now()) {
        let mut ready = timer.readable().await.unwrap();
        let _ = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0_u8; 8])?));
    }
}

/// One connection: requests one after the other, each when it is due or as soon after as the connection is free. How long
/// those took that count.
async fn call(
    mut stream: TcpStream,
    request: Vec<u8>,
    mut due: UnboundedReceiver<(Instant, bool)>,
) -> Vec<Duration> {
    let (mut buffer, mut times) = (vec![0; 1 << 17], Vec::new());
    loop {
        // Waking too late is our fault, a connection that is not free yet is the server's.
        let (begun, counts) = if let Ok(late) = due.try_recv() {
            late
        } else {
            let Some((_, counts)) = due.recv().await else { return times };
            (Instant::now(), counts)
        };
        stream.write_all(&request).await.unwrap();
        answer(&mut stream, &mut buffer).await;
        if counts {
            times.push(begun.elapsed());
        }
    }
}

/// Reads one whole answer.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
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
