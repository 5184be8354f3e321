//! A websocket's client side (RFC 6455) over a Unix socket: text and binary messages, no extensions.
//!
//! The key of the handshake and the masks are constants: they protect proxies between client and server, and there are none.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::Instant;

use super::Result;
use super::error::PebbleError;
use super::http::{self, Request, Timed};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What the standard makes of [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Pebble sends at most 128 KiB at once.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[derive(Debug)]
pub(super) enum Message {
    /// A word between the two sides; what it says is nobody's matter here.
    Text,
    Binary(Vec<u8>),
    /// The other side is done.
    Close,
}

#[derive(Debug)]
pub(super) struct Reader {
    from: BufReader<Timed>,
    to: Writer,
}

#[derive(Debug)]
pub(super) struct Writer {
    to: Timed,
}

/// Connects and shakes hands.
pub(super) fn connect(socket: &Path, target: &str, deadline: Instant) -> Result<(Reader, Writer)> {
    let failed = |error: io::Error| PebbleError::of_io(&error, target);
    let mut stream = Timed::connect(socket, deadline).map_err(failed)?;
    let headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)];
    let request = Request { method: "GET", target, headers: &headers, body: None };
    http::send(&mut stream, &request, "Upgrade").map_err(failed)?;
    let writer = Writer { to: stream.try_clone().map_err(failed)? };
    let answers = Writer { to: stream.try_clone().map_err(failed)? };
    let mut from = BufReader::new(stream);
    let head = http::read_head(&mut from).map_err(failed)?;
    if head.status != 101 {
        return Err(PebbleError::answered(head.status, "", format!("{target}: no websocket, status {}", head.status)));
    }
    if head.header("sec-websocket-accept") != Some(ACCEPT) {
        return Err(PebbleError::protocol(format!("{target}: another key was answered than was sent")));
    }
    Ok((Reader { from, to: answers }, writer))
}

impl Reader {
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.from.get_mut().set_deadline(deadline);
        self.to.set_deadline(deadline);
    }

    pub(super) fn shut_down(&self) {
        self.from.get_ref().shut_down();
    }

    /// The next message; pings are answered on the way.
    pub(super) fn read(&mut self) -> io::Result<Message> {
        let mut message = Vec::new();
        let mut kind = None;
        loop {
            let (last, opcode, mut content) = read_frame(&mut self.from)?;
            match opcode {
                PING => self.to.write_frame(PONG, &content)?,
                PONG => {}
                CLOSE => return Ok(Message::Close),
                TEXT | BINARY | CONTINUATION => {
                    // only the first frame of a message has its kind
                    match (opcode, kind) {
                        (CONTINUATION, Some(_)) => {}
                        (TEXT | BINARY, None) => kind = Some(opcode),
                        _ => return Err(malformed("a message within a message")),
                    }
                    if (message.len() + content.len()) as u64 > MESSAGE_BYTES_MAX {
                        return Err(malformed("a message without end"));
                    }
                    message.append(&mut content);
                    if last {
                        return Ok(if kind == Some(TEXT) { Message::Text } else { Message::Binary(message) });
                    }
                }
                _ => return Err(malformed("an unknown kind of frame")),
            }
        }
    }
}

impl Writer {
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.to.set_deadline(deadline);
    }

    pub(super) fn write_text(&mut self, text: &str) -> io::Result<()> {
        self.write_frame(TEXT, text.as_bytes())
    }

    pub(super) fn write_binary(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_frame(BINARY, bytes)
    }

    fn write_frame(&mut self, opcode: u8, content: &[u8]) -> io::Result<()> {
        let mut frame = frame_head(opcode, content.len());
        frame.extend_from_slice(content);
        self.to.write_all(&frame)
    }
}

/// The head of a masked frame whose mask is zero, so that the content stands as it is.
fn frame_head(opcode: u8, length: usize) -> Vec<u8> {
    const LAST: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut head = vec![LAST | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => head.push(MASKED | length),
        (_, Ok(length)) => {
            head.push(MASKED | 126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            head.push(MASKED | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// Whether it is a message's last frame, its opcode and content.
fn read_frame(from: &mut impl Read) -> io::Result<(bool, u8, Vec<u8>)> {
    let [first, second] = read_array(from)?;
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(malformed("reserved bits, or a mask from a server"));
    }
    let length = match second {
        126 => u64::from(u16::from_be_bytes(read_array(from)?)),
        127 => u64::from_be_bytes(read_array(from)?),
        short => u64::from(short),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(malformed("a frame without end"));
    }
    let mut content = Vec::new();
    from.take(length).read_to_end(&mut content)?;
    if (content.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((first & 0x80 != 0, first & 0x0f, content))
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a websocket: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_each_length_are_framed_as_the_standard_says() {
        assert_eq!(frame_head(TEXT, 5), [0x81, 0x85, 0, 0, 0, 0]);
        assert_eq!(frame_head(BINARY, 126), [0x82, 0xfe, 0, 126, 0, 0, 0, 0]);
        assert_eq!(frame_head(BINARY, 65536), [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn frames_are_read_and_broken_ones_refused() {
        assert_eq!(read_frame(&mut &[0x82, 3, 1, 2, 3][..]).unwrap(), (true, BINARY, vec![1, 2, 3]));
        assert_eq!(read_frame(&mut &[0x01, 126, 0, 1, 7][..]).unwrap(), (false, TEXT, vec![7]));
        for broken in [
            &[0x82][..],
            &[0x82, 3, 1],
            &[0xc2, 0],
            &[0x82, 0x81, 0, 0, 0, 0, 0],
            &[0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(read_frame(&mut &*broken).is_err(), "{broken:?}");
        }
    }
}
