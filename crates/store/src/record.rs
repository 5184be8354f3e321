//! What is kept in the WAL for every profile that came in.

use bytes::Bytes;
use profile::Batch;

/// A profile as received. It needs no other record: replay hands it to `ingest` again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The wire format; the numbers belong to `ingest`.
    pub kind: u8,
    /// Of `ingest`'s rules when the record was written, so that replay can follow them.
    pub version: u16,
    pub tenant: String,
    /// ns since the epoch.
    pub receive_time: i64,
    /// Address or name of who sent it, for messages; may be empty.
    pub sender: String,
    /// As resolved when it was received, `__name__` included.
    pub labels: Vec<(String, String)>,
    pub payload: Bytes,
}

impl Record {
    /// Bytes of memory and, but for a few of framing, of WAL.
    pub fn bytes(&self) -> u64 {
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        (self.tenant.len() + self.sender.len() + labels + self.payload.len() + 32) as u64
    }
}

/// Where a write stands in the WAL of one writer: 1 for the first, then one more each. 0 is "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPosition(pub u64);

/// Makes a batch of a record again when the WAL is replayed; implemented with `ingest`.
pub trait ReplayDecoder: Send + Sync {
    /// An error says why; the record is then kept aside in `rejected/`.
    fn decode(&self, record: &Record) -> Result<Batch, String>;
}
