/**
 * LZ4 frames, decoding only: the compression of Arrow IPC buffers in Parca's replies.
 *
 * Rules: the LZ4 frame format 1.6.x and block format. Blocks may refer to earlier ones, since all are
 * decoded into one output. Checksums are skipped: the transport has its own. Dictionaries, which Arrow
 * never uses, are refused.
 */

const MAGIC = 0x184d2204;
/** Set in a block's size when the block is stored and not compressed. */
const STORED = 0x80000000;
/** The shortest match that the block format can express. */
const MATCH_MIN = 4;

/** A defect in a frame: what was wrong and at which byte. */
export class Lz4Error extends Error {
  constructor(what: string, at: number) {
    super(`LZ4 frame: ${what} at byte ${at}`);
    this.name = "Lz4Error";
  }
}

/** Decodes one frame to exactly `size` bytes. Throws `Lz4Error` on any defect; never reads past the input. */
export function decodeFrame(input: Uint8Array, size: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (input.length < 7 || view.getUint32(0, true) !== MAGIC) throw new Lz4Error("no frame magic", 0);
  const flags = input[4];
  if (flags >> 6 !== 1) throw new Lz4Error(`unknown version ${flags >> 6}`, 4);
  if (flags & 1) throw new Lz4Error("needs a dictionary", 4);
  const blockChecksum = (flags & 0x10) !== 0;
  const contentSize = (flags & 0x08) !== 0;
  // magic, flags, block descriptor, optional content size, header checksum
  let at = 6 + (contentSize ? 8 : 0) + 1;

  const output = new Uint8Array(size);
  let filled = 0;
  for (;;) {
    if (at + 4 > input.length) throw new Lz4Error("ends before its end mark", at);
    const head = view.getUint32(at, true);
    at += 4;
    if (head === 0) break;
    const length = head & ~STORED;
    const end = at + length;
    if (length < 0 || end > input.length) throw new Lz4Error("a block is cut off", at);
    if (head & STORED) {
      if (filled + length > size) throw new Lz4Error(`more than the announced ${size} bytes`, at);
      output.set(input.subarray(at, end), filled);
      filled += length;
    } else {
      filled = decodeBlock(input, at, end, output, filled);
    }
    at = end + (blockChecksum ? 4 : 0);
  }
  if (filled !== size) throw new Lz4Error(`${filled} bytes where ${size} were announced`, at);
  return output;
}

/** Decodes the block `input[at..end]` to the end of `output[..filled]`; returns how much is filled then. */
function decodeBlock(input: Uint8Array, at: number, end: number, output: Uint8Array, filled: number): number {
  while (at < end) {
    const token = input[at++];

    let literals = token >> 4;
    if (literals === 15) {
      let more;
      do {
        if (at >= end) throw new Lz4Error("a length is cut off", at);
        more = input[at++];
        literals += more;
      } while (more === 255);
    }
    if (at + literals > end) throw new Lz4Error("literals are cut off", at);
    if (filled + literals > output.length) throw new Lz4Error("more bytes than announced", at);
    if (literals > 32) {
      output.set(input.subarray(at, at + literals), filled);
      at += literals;
      filled += literals;
    } else {
      for (const stop = at + literals; at < stop;) output[filled++] = input[at++];
    }
    // the last sequence of a block has literals only
    if (at === end) break;

    if (at + 2 > end) throw new Lz4Error("an offset is cut off", at);
    const offset = input[at] | (input[at + 1] << 8);
    at += 2;
    if (offset === 0 || offset > filled) throw new Lz4Error(`an offset of ${offset} points before the start`, at);
    let match = (token & 15) + MATCH_MIN;
    if ((token & 15) === 15) {
      let more;
      do {
        if (at >= end) throw new Lz4Error("a length is cut off", at);
        more = input[at++];
        match += more;
      } while (more === 255);
    }
    if (filled + match > output.length) throw new Lz4Error("more bytes than announced", at);
    if (offset >= match && match > 32) {
      output.copyWithin(filled, filled - offset, filled - offset + match);
      filled += match;
    } else {
      // the match may overlap what it writes: byte by byte, as the format means it
      for (const stop = filled + match; filled < stop; filled++) output[filled] = output[filled - offset];
    }
  }
  return filled;
}
