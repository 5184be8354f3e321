//! Memory for a message is leased by its length prefix, before its bytes are read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use store::{Account, Kind, Lease, StoreError};
use tonic::Status;

use crate::grpc::stack::overloaded_for;

/// Length prefix of a gRPC message: a compressed flag and a big-endian length.
const PREFIX_BYTES: usize = 5;

/// Shared by the body, which grows it, and the call, which holds it until it is answered.
pub(crate) type SharedLease = Arc<Mutex<Lease>>;

/// A request's body that refuses a message too large, or one there is no memory for, as soon as its length is
/// known.
///
/// Of a stream the lease covers the latest message and the one before it, which is still being worked on when the next begins.
pub(crate) struct LeasedBody {
    inner: Body,
    message_bytes_max: usize,
    lease: SharedLease,
    /// Bytes leased for the latest message.
    latest: u64,
    at: At,
}

/// Where in the framing the next byte stands.
enum At {
    Prefix { seen: usize, bytes: [u8; PREFIX_BYTES] },
    Message { left: usize },
}

impl LeasedBody {
    pub(crate) fn lease(memory: &Account) -> SharedLease {
        Arc::new(Mutex::new(memory.empty_lease()))
    }

    pub(crate) fn new(inner: Body, message_bytes_max: usize, lease: SharedLease) -> Self {
        Self { inner, message_bytes_max, lease, latest: 0, at: At::Prefix { seen: 0, bytes: [0; PREFIX_BYTES] } }
    }

    fn follow(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            match &mut self.at {
                At::Prefix { seen, bytes } => {
                    let taken = (PREFIX_BYTES - *seen).min(data.len());
                    bytes[*seen..*seen + taken].copy_from_slice(&data[..taken]);
                    *seen += taken;
                    data = &data[taken..];
                    if *seen == PREFIX_BYTES {
                        let compressed = bytes[0] != 0;
                        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
                        self.begin(length, compressed)?;
                        self.at = At::Message { left: length };
                    }
                }
                At::Message { left } => {
                    let taken = (*left).min(data.len());
                    *left -= taken;
                    data = &data[taken..];
                }
            }
            if matches!(self.at, At::Message { left: 0 }) {
                self.at = At::Prefix { seen: 0, bytes: [0; PREFIX_BYTES] };
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize, compressed: bool) -> Result<(), Status> {
        let max = self.message_bytes_max;
        if length > max {
            let message = format!("grpc: received message larger than max ({length} vs. {max})");
            return Err(Status::resource_exhausted(message));
        }
        // deflate expands at most 1032 times; the decoder stops at the limit
        let unpacked = if compressed { length.saturating_mul(1032).min(max) } else { 0 };
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.bytes() > self.latest {
            lease.set(self.latest);
        }
        self.latest = (length + unpacked) as u64;
        lease.grow(self.latest).map_err(refused)
    }
}

/// A lease that was not granted, as the client sees it.
pub(crate) fn refused(error: StoreError) -> Status {
    match (error.kind, error.retry_after) {
        (Kind::Overloaded, Some(after)) => overloaded_for(error.to_string(), after),
        _ => Status::resource_exhausted(error.to_string()),
    }
}

impl HttpBody for LeasedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
            Some(Ok(frame)) => frame,
        };
        let followed = frame.data_ref().map_or(Ok(()), |data| this.follow(data));
        Poll::Ready(Some(followed.map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A status that another layer put into the body, or what HTTP said.
fn broken(error: axum::Error) -> Status {
    Status::from_error(error.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(budget: u64, max: usize) -> LeasedBody {
        let memory = store::Budget::new(budget).account("requests", budget);
        LeasedBody::new(Body::empty(), max, LeasedBody::lease(&memory))
    }

    fn prefix(length: u32) -> [u8; 5] {
        let [a, b, c, d] = length.to_be_bytes();
        [0, a, b, c, d]
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_prefix_in_parcas_words() {
        let status = body(1 << 30, 64 << 20).follow(&prefix(67_108_889)).expect_err("too large");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (67108889 vs. 67108864)");
    }

    #[test]
    fn memory_is_leased_before_the_bytes_come_even_if_the_prefix_comes_byte_by_byte() {
        let mut body = body(100, 1000);
        for byte in prefix(60) {
            body.follow(&[byte]).expect("there is room");
        }
        assert_eq!(body.lease.lock().expect("not poisoned").bytes(), 60);
        body.follow(&[7; 60]).expect("the message itself");
        let status = body.follow(&prefix(60)).expect_err("a second message has no room");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.metadata().contains_key("retry-after"));
    }

    #[test]
    fn a_stream_holds_no_more_than_its_latest_two_messages() {
        let mut body = body(100, 1000);
        for (length, held) in [(40, 40), (50, 90), (10, 60), (30, 40), (70, 100), (0, 70), (0, 0)] {
            body.follow(&prefix(length)).expect("there is room");
            assert_eq!(body.lease.lock().expect("not poisoned").bytes(), held, "{length}");
            body.follow(&vec![7; length as usize]).expect("the message itself");
        }
    }
}
