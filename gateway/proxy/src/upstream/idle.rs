//! Plain connections to one endpoint that wait for their next request.
//!
//! In: connections whose last answer is complete. Out: the youngest that is still open. Split by thread, so that no
//! request waits for another; bounded over all endpoints by [`Room`]. Must never give out a connection on which the
//! other side has already said something: it would be taken for an answer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;

use super::IDLE;
use crate::thread;

const SHARES: usize = 8;

/// Connections that may wait, over all endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

#[derive(Debug)]
struct Kept {
    stream: TcpStream,
    since: Instant,
    _place: Place,
}

/// Connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Idle([Mutex<Vec<Kept>>; SHARES]);

impl Room {
    /// Room for `most` connections.
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.taken));
        // Given back by the drop of `place` when it is one too many.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Idle {
    /// A connection that waits, the calling thread's first.
    pub(crate) fn take(&self, now: Instant) -> Option<TcpStream> {
        let mine = thread::share(SHARES);
        (0..SHARES).find_map(|step| self.take_from((mine + step) % SHARES, now))
    }

    fn take_from(&self, share: usize, now: Instant) -> Option<TcpStream> {
        loop {
            let kept = self.lock(share).pop()?;
            if kept.is_usable(now) {
                return Some(kept.stream);
            }
        }
    }

    /// Keeps a connection, if there is room.
    pub(crate) fn put(&self, stream: TcpStream, now: Instant, room: &Room) {
        if let Some(place) = room.place() {
            self.lock(thread::share(SHARES)).push(Kept { stream, since: now, _place: place });
        }
    }

    /// Closes what has waited too long, or was closed by the other side.
    pub(crate) fn sweep(&self, now: Instant) {
        for share in 0..SHARES {
            self.lock(share).retain(|kept| kept.is_usable(now));
        }
    }

    fn lock(&self, share: usize) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // A list is whole between any two statements: a panic elsewhere cannot have broken it.
        self.0[share].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_usable(&self, now: Instant) -> bool {
        let silent =
            matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && now.saturating_duration_since(self.since) < IDLE
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_silent_and_young_connections_are_given_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (idle, room, now) = (Idle::default(), Room::new(3), Instant::now());
        let (open, _other) = pair(&listener).await;
        let address = open.local_addr().unwrap();
        let (closed, other) = pair(&listener).await;
        drop(other);
        let (talking, mut other) = pair(&listener).await;
        other.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        closed.readable().await.unwrap();
        talking.readable().await.unwrap();
        for stream in [open, closed, talking] {
            idle.put(stream, now, &room);
        }
        assert_eq!(idle.take(now).unwrap().local_addr().unwrap(), address);
        assert!(idle.take(now).is_none());
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn old_ones_are_closed_and_room_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (idle, room, now) = (Idle::default(), Room::new(1), Instant::now());
        let (first, _a) = pair(&listener).await;
        let (second, _b) = pair(&listener).await;
        idle.put(first, now, &room);
        idle.put(second, now, &room);
        assert_eq!(room.taken.load(Ordering::Relaxed), 1);
        idle.sweep(now + IDLE.saturating_sub(Duration::from_millis(1)));
        assert_eq!(room.taken.load(Ordering::Relaxed), 1);
        idle.sweep(now + IDLE);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
