//! Plain connections to one endpoint that wait for their next request.
//!
//! In: connections whose last answer is complete. Out: the youngest that is still open. Each worker has its own: the events
//! of a connection come to the worker that opened it. Bounded over all endpoints by [`Room`]. Must never give out a
//! connection on which the other side has already said something: it would be taken for an answer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;

use super::IDLE;
use crate::thread;

/// As many as there are workers, as a rule; where there are more, some share.
static SHARES: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).min(64));

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
#[derive(Debug)]
pub(crate) struct Idle(Box<[Mutex<Vec<Kept>>]>);

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
    /// A connection of the calling worker that waits.
    pub(crate) fn take(&self, now: Instant) -> Option<TcpStream> {
        loop {
            let kept = self.mine().pop()?;
            if kept.is_usable(now) {
                return Some(kept.stream);
            }
        }
    }

    /// Keeps a connection, if there is room.
    pub(crate) fn put(&self, stream: TcpStream, now: Instant, room: &Room) {
        if let Some(place) = room.place() {
            self.mine().push(Kept { stream, since: now, _place: place });
        }
    }

    /// Closes what has waited too long, or was closed by the other side.
    pub(crate) fn sweep(&self, now: Instant) {
        self.0.iter().for_each(|share| lock(share).retain(|kept| kept.is_usable(now)));
    }

    fn mine(&self) -> MutexGuard<'_, Vec<Kept>> {
        lock(thread::own(&self.0))
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self((0..*SHARES).map(|_| Mutex::default()).collect())
    }
}

fn lock(share: &Mutex<Vec<Kept>>) -> MutexGuard<'_, Vec<Kept>> {
    // A list is whole between any two statements: a panic elsewhere cannot have broken it.
    share.lock().unwrap_or_else(PoisonError::into_inner)
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
