//! Arrow's IPC stream, read in place.
//!
//! The library's own reader allocates what a length in the message says before it looks whether so much can be
//! there, and builds an array per column. This one takes nothing on trust: a buffer is a slice of the message or of
//! one unpacked buffer whose size was checked against a limit first, and a column checks an offset or a key where it
//! is used. It reads every encoding of a type alike (plain, dictionary, run ends, view), so that its callers ask a
//! column for the text or the number of a row and need not know how a sender wrote it.
//!
//! Map: [`stream`] messages, schema, dictionaries, record batches · [`column`] values of a row ·
//! [`unpack`] compressed buffers.

mod column;
mod stream;
mod unpack;

pub(crate) use column::{At, Column, Cursor, Lists, Places, no_key};
pub(crate) use stream::{Record, Stream};

use crate::error::{IngestError, IngestErrorKind};

/// What is wrong with the bytes.
pub(crate) fn malformed(what: impl Into<String>) -> IngestError {
    IngestError::new(IngestErrorKind::InvalidArgument, what)
}

pub(crate) fn too_much(what: impl Into<String>) -> IngestError {
    IngestError::new(IngestErrorKind::ResourceExhausted, what)
}
