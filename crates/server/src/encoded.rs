//! Messages that are written from columns, without a value of a generated type for each of their parts.

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};

/// A message with all that is below it, encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded(Bytes);

impl From<Vec<u8>> for Encoded {
    fn from(message: Vec<u8>) -> Self {
        Self(message.into())
    }
}

impl prost::Message for Encoded {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut all = Vec::from(std::mem::take(&mut self.0));
        match wire_type {
            WireType::Varint => {
                encode_key(tag, wire_type, &mut all);
                encode_varint(decode_varint(buf)?, &mut all);
            }
            WireType::LengthDelimited => {
                let mut child = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut child, buf, ctx)?;
                prost::encoding::bytes::encode(tag, &child, &mut all);
            }
            _ => prost::encoding::skip_field(wire_type, tag, buf, ctx)?,
        }
        self.0 = all.into();
        Ok(())
    }

    fn clear(&mut self) {
        self.0 = Bytes::new();
    }
}

/// A varint field; 0 is left out, as proto3 wants it. An `int64` is its bits.
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}

/// A field of a text that is not empty, or of one that may be and is to be seen.
pub(crate) fn string(out: &mut Vec<u8>, field: u32, text: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// A message field, also if it is empty.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let begin = out.len();
    out.push(0);
    write(out);
    let length = out.len() - begin - 1;
    if length < 0x80 {
        out[begin] = length as u8;
        return;
    }
    let mut header = Vec::with_capacity(3);
    encode_varint(length as u64, &mut header);
    out.splice(begin..=begin, header);
}
