//! How deep the messages of a reply nest, before anything descends into them.
//!
//! `prost` stops at 100 by itself unless another crate of the build turns its limit off, as that of heap profiles does.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{Kind, MessageDescriptor};

/// As most readers of protobuf have it.
const MAX_DEPTH: u32 = 100;

/// Whether messages within `bytes` nest deeper than readers follow. What is no protobuf is left to the decoder.
pub(super) fn nests_too_deep(message: &MessageDescriptor, bytes: &[u8]) -> bool {
    exceeds(message, bytes, MAX_DEPTH)
}

fn exceeds(message: &MessageDescriptor, mut bytes: &[u8], left: u32) -> bool {
    while !bytes.is_empty() {
        let Ok((number, wire_type)) = decode_key(&mut bytes) else { return false };
        let inner = match message.get_field(number).map(|field| field.kind()) {
            Some(Kind::Message(inner)) if wire_type == WireType::LengthDelimited => inner,
            _ => match skip_field(wire_type, number, &mut bytes, DecodeContext::default()) {
                Ok(()) => continue,
                Err(_) => return false,
            },
        };
        let Ok(length) = decode_varint(&mut bytes) else { return false };
        let Some((within, rest)) = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length))
        else {
            return false;
        };
        if left == 0 || exceeds(&inner, within, left - 1) {
            return true;
        }
        bytes = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use prost::encoding::{encode_key, encode_varint};

    use super::*;

    fn node() -> MessageDescriptor {
        let pool = crate::proto::pool().expect("our own descriptors");
        pool.get_message_by_name("parca.query.v1alpha1.FlamegraphNode").expect("a message that holds its own kind")
    }

    /// An empty node within `depth` others.
    fn nested(depth: u32) -> Vec<u8> {
        let children = node().get_field_by_name("children").expect("a field").number();
        (0..depth).fold(Vec::new(), |within, _| {
            let mut bytes = Vec::new();
            encode_key(children, WireType::LengthDelimited, &mut bytes);
            encode_varint(within.len() as u64, &mut bytes);
            bytes.extend(within);
            bytes
        })
    }

    #[test]
    fn a_message_within_a_hundred_others_is_the_deepest() {
        assert!(!nests_too_deep(&node(), &nested(100)));
        assert!(nests_too_deep(&node(), &nested(101)));
    }

    #[test]
    fn the_deepest_is_found_behind_flat_ones_and_what_is_cut_off_is_left_to_the_decoder() {
        let mut both = nested(1);
        both.extend(nested(101));
        assert!(nests_too_deep(&node(), &both));
        let cut = &nested(101)[..150];
        assert!(!nests_too_deep(&node(), cut));
        assert!(!nests_too_deep(&node(), &[0xff; 20]));
    }
}
