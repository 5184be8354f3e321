//! The .xz container around one LZMA2 stream: as much of it as the dashboard's data bag needs.
//!
//! Source of the format: "The .xz File Format", version 1.2.1. What is written has one block and the check CRC32; what is read
//! may have any check, since it is only compared with what we would write.

use std::io::{self, Read, Write};

use lzma_rust2::{Lzma2Options, Lzma2Reader, Lzma2Writer};

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// Stream flags: the check is CRC32.
const FLAGS: [u8; 2] = [0, 1];
const CHECK_BYTES: usize = 4;
const LZMA2: u8 = 0x21;
/// 1 MiB: larger than any dashboard, small enough for a charm's container. As the format writes it: 2 << (16 / 2 + 11).
const DICTIONARY: u32 = 1 << 20;
const DICTIONARY_CODE: u8 = 16;
/// Dictionaries of what is read, which sizes a buffer: what `xz -9` asks for is the most.
const DICTIONARY_MAX: u32 = 64 << 20;

/// `data` as an .xz file. The same bytes for the same data.
///
/// # Errors
/// The encoder's own; none is known for writing into memory.
pub fn compress(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = HEADER_MAGIC.to_vec();
    out.extend(FLAGS);
    out.extend(crc32(&FLAGS).to_le_bytes());

    let block_start = out.len();
    // size in words without this one, flags (one filter, no sizes), filter, its properties, padding
    let header = [2, 0, LZMA2, 1, DICTIONARY_CODE, 0, 0, 0];
    out.extend(header);
    out.extend(crc32(&header).to_le_bytes());
    let mut options = Lzma2Options::with_preset(6);
    options.lzma_options.dict_size = DICTIONARY;
    let mut writer = Lzma2Writer::new(&mut out, options);
    writer.write_all(data)?;
    writer.finish()?;
    let unpadded = out.len() - block_start + CHECK_BYTES;
    pad(&mut out);
    out.extend(crc32(data).to_le_bytes());

    let index_start = out.len();
    out.extend([0, 1]);
    push_number(&mut out, unpadded as u64);
    push_number(&mut out, data.len() as u64);
    pad(&mut out);
    let sum = crc32(&out[index_start..]);
    out.extend(sum.to_le_bytes());

    let index_words = (out.len() - index_start) as u32 / 4 - 1;
    let mut footer = index_words.to_le_bytes().to_vec();
    footer.extend(FLAGS);
    out.extend(crc32(&footer).to_le_bytes());
    out.extend(footer);
    out.extend(FOOTER_MAGIC);
    Ok(out)
}

/// The first block's data, of at most `limit` bytes. Checks are not verified.
///
/// # Errors
/// It is no .xz file, uses other filters than LZMA2, is cut off, or holds more than `limit` bytes.
pub fn decompress(file: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let rest = file.strip_prefix(&HEADER_MAGIC).ok_or_else(|| bad("no .xz file"))?;
    // flags and their CRC32
    let block = rest.get(6..).ok_or_else(|| bad("cut off"))?;
    let header_bytes = match block.first() {
        // an index where a block would be: the file holds nothing
        Some(0) => return Ok(Vec::new()),
        Some(words) => (usize::from(*words) + 1) * 4,
        None => return Err(bad("cut off")),
    };
    let header = block.get(..header_bytes).ok_or_else(|| bad("cut off"))?;
    let flags = header[1];
    let mut fields = &header[2..];
    for present in [0x40, 0x80] {
        if flags & present != 0 {
            fields = skip_number(fields).ok_or_else(|| bad("a bad block header"))?;
        }
    }
    let [LZMA2, 1, code, ..] = *fields else { return Err(bad("filters other than LZMA2")) };
    if flags & 3 != 0 {
        return Err(bad("filters other than LZMA2"));
    }
    let dictionary =
        dictionary_bytes(code).filter(|bytes| *bytes <= DICTIONARY_MAX).ok_or_else(|| bad("a dictionary too large"))?;
    let mut data = Vec::new();
    Lzma2Reader::new(&block[header_bytes..], dictionary, None).take(limit as u64 + 1).read_to_end(&mut data)?;
    if data.len() > limit {
        return Err(bad("more data than expected"));
    }
    Ok(data)
}

fn dictionary_bytes(code: u8) -> Option<u32> {
    (code < 40).then(|| (2 | u32::from(code & 1)) << (code / 2 + 11))
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Seven bits per byte, the lowest first.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn skip_number(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    bytes.get(last + 1..)
}

/// IEEE 802.3, bit by bit: the input has some kilobytes, once in the life of a relation.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use base64::prelude::{BASE64_STANDARD, Engine};
    use proptest::prelude::*;

    use super::*;

    /// `base64.b64encode(lzma.compress(b"profile " * 40))` of CPython 3.13.
    const OF_PYTHON: &str =
        "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AE/ABBdADgciiHk78yv6J18FBjiIAAAVSd7SspKxtgAASzAAgAAAMAxJ/CxxGf7AgAAAAAEWVo=";

    #[test]
    fn what_python_wrote_is_read() {
        let file = BASE64_STANDARD.decode(OF_PYTHON).unwrap();
        assert_eq!(decompress(&file, 320).unwrap(), b"profile ".repeat(40));
        assert_eq!(decompress(&file, 319).unwrap_err().to_string(), "more data than expected");
    }

    #[test]
    fn python_reads_what_is_written() {
        let data = b"{\"panels\": [1, 2, 3]}".repeat(500);
        let mut python = Command::new("python3")
            .args(["-c", "import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3, which this test asks for its opinion, starts");
        python.stdin.take().unwrap().write_all(&compress(&data).unwrap()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, data);
    }

    #[test]
    fn repetition_is_compressed() {
        assert!(compress(&b"0123456789abcdef".repeat(4096)).unwrap().len() < 300);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_reads_back(data in prop::collection::vec(any::<u8>(), 0..5000)) {
            let file = compress(&data).unwrap();
            prop_assert_eq!(file.len() % 4, 0);
            prop_assert_eq!(decompress(&file, data.len()).unwrap(), data);
        }

        #[test]
        fn what_is_read_of_any_bytes_is_within_its_bound_and_reads_back(
            mut file in prop::collection::vec(any::<u8>(), 0..200),
            whole in any::<bool>(),
        ) {
            if whole {
                let start = compress(b"profile profile").unwrap();
                let kept = start.len().min(24);
                file.splice(0..0, start[..kept].iter().copied());
            }
            if let Ok(data) = decompress(&file, 1000) {
                prop_assert!(whole && data.len() <= 1000, "{:?}", file);
                prop_assert_eq!(decompress(&compress(&data).unwrap(), data.len()).unwrap(), data);
            }
        }
    }
}
