//! What turns addresses into names: so far the files that it takes, which agents upload under their build IDs.
//!
//! It never answers a query, and knows no wire format beyond the metadata that Parca keeps in a bucket, which it reads and writes
//! so that either server can take over from the other.
//!
//! Map: [`build_id`] what is one · [`metadata`] what is known of an upload, as it lies in the bucket · [`uploads`] who may
//! upload what, and the way of the bytes · [`sources`] files of an uploaded archive.

pub mod build_id;
pub mod metadata;
pub mod sources;
pub mod uploads;

pub use build_id::BuildId;
pub use metadata::DebuginfoType;
pub use sources::{SourceError, SourceOptions, Sources};
pub use uploads::{Asked, Initiated, Receiver, UploadError, UploadOptions, Uploads};
