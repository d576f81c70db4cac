//! Connections for requests that ask for another protocol (WebSocket).
//!
//! pingora hands an upstream the end of the request's (empty) body in one task and reads the answer in another, in
//! any order; when it meets a 101 first, it takes that end for the end of the tunnel and closes it. So a
//! connection made here has no answer yet in the moment after something was written: the body's end, which is
//! ready by then, comes first. Costs one turn of the task; such connections are never shared.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{ErrorType, OrErr, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connects to an address.
#[derive(Debug)]
pub(super) struct Tunnel(pub(super) SocketAddr);

#[async_trait]
impl L4Connect for Tunnel {
    async fn connect(&self, _peer: &PeerAddress) -> Result<Stream> {
        Ok(patient(connect(self.0).await?))
    }
}

/// A connected socket without Nagle's delay.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address).await.or_err(ErrorType::ConnectError, "cannot connect")?;
    socket.set_nodelay(true).or_err(ErrorType::ConnectError, "cannot set up the socket")?;
    Ok(socket)
}

/// `inner`, which yields once between a write and the next read.
pub(super) fn patient<S>(inner: S) -> Stream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug + 'static,
{
    VirtualSocketStream::new(Box::new(Patient { inner, written: false })).into()
}

#[derive(Debug)]
struct Patient<S> {
    inner: S,
    /// Since the last read.
    written: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.written = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug> VirtualSocket for Patient<S> {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        // Set when it was connected.
        Ok(())
    }
}
