//! The one decompressor of payloads: capped, whatever the header claims.

use std::borrow::Cow;
use std::io::Read;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

use super::{Defect, Limits};

/// Deflate cannot pack more than this many bytes into one.
const DEFLATE_RATIO_MAX: usize = 1_032;

/// The message's bytes: unpacked if they begin as gzip or zstd do, else as they are.
///
/// Takes memory in proportion to what really comes out, never to what a header promises, and stops with a
/// [`super::DefectKind::Limit`] one byte past `limits.unpacked_bytes`.
#[expect(clippy::disallowed_types, reason = "this is the capped decoder that others are to use")]
pub fn unpack<'a>(payload: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Defect> {
    match payload {
        [0x1f, 0x8b, ..] => gunzip(payload, limits.unpacked_bytes).map(Cow::Owned),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(payload)
                .map_err(|error| Defect::compression(format!("zstd: {error}")))?;
            capped(decoder, limits.unpacked_bytes, |error| format!("zstd: {error}")).map(Cow::Owned)
        }
        _ if payload.len() > limits.unpacked_bytes => Err(too_large(limits.unpacked_bytes)),
        _ => Ok(Cow::Borrowed(payload)),
    }
}

#[expect(clippy::disallowed_types, reason = "this is the capped decoder that others are to use")]
fn gunzip(payload: &[u8], cap: usize) -> Result<Vec<u8>, Defect> {
    // one member, as nearly always: its last four bytes say how long it is
    if let Some(size) = payload.last_chunk::<4>() {
        let size = u32::from_le_bytes(*size) as usize;
        if size <= cap && size <= payload.len().saturating_mul(DEFLATE_RATIO_MAX) {
            let mut unpacked = vec![0; size];
            if Decompressor::new().gzip_decompress(payload, &mut unpacked) == Ok(size) && single_member(payload) {
                return Ok(unpacked);
            }
        }
    }
    // several members, trailing bytes, a false length, or broken: the slow reader finds out which
    capped(flate2::read::MultiGzDecoder::new(payload), cap, |error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ if error.to_string().contains("checksum") => "gzip: invalid checksum".to_owned(),
        // bytes behind the last member are no header of another one
        _ if error.to_string().contains("header") => "gzip: invalid header".to_owned(),
        _ => format!("flate: corrupt input: {error}"),
    })
}

/// Whether no header of a second member can be in there. libdeflate stops after the first member and does
/// not say so. Three bytes of deflated data look like a header once in 16 million: then the slow reader
/// decides. Folding without an early exit lets the compiler compare 16 bytes at a time.
fn single_member(payload: &[u8]) -> bool {
    let (first, second, third) = (&payload[1..payload.len() - 2], &payload[2..payload.len() - 1], &payload[3..]);
    let headers = first.iter().zip(second).zip(third);
    !headers.fold(false, |found, ((&a, &b), &c)| found | ((a == 0x1f) & (b == 0x8b) & (c == 8)))
}

fn capped(reader: impl Read, cap: usize, describe: impl Fn(&std::io::Error) -> String) -> Result<Vec<u8>, Defect> {
    let mut unpacked = Vec::new();
    match reader.take(cap as u64 + 1).read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() > cap => Err(too_large(cap)),
        Ok(_) => Ok(unpacked),
        Err(error) => Err(Defect::compression(describe(&error))),
    }
}

fn too_large(cap: usize) -> Defect {
    Defect::limit(format!("profile is larger than {cap} bytes after decompression"))
}

/// Gzip at the fastest level that still pays: profiles are read more often over a loopback than stored.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(1).expect("level 1 exists"));
    let mut packed = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let len = compressor.gzip_compress(bytes, &mut packed).expect("the bound suffices");
    packed.truncate(len);
    packed
}
