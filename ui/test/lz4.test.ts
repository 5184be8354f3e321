import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeFrame, Lz4Error } from "../src/arrow/lz4";

/** A slow and simple encoder: greedy matches by search, as the block format allows them. */
function encodeFrame(
  input: Uint8Array,
  blockSize: number,
  options: { checksums?: boolean; stored?: boolean } = {},
): Uint8Array {
  const out: number[] = [0x04, 0x22, 0x4d, 0x18, 0x40 | (options.checksums ? 0x14 : 0), 0x40, 0];
  const word = (n: number) => out.push(n & 255, (n >>> 8) & 255, (n >>> 16) & 255, n >>> 24);
  for (let from = 0; from < input.length; from += blockSize) {
    const to = Math.min(input.length, from + blockSize);
    const block = options.stored ? Array.from(input.subarray(from, to)) : encodeBlock(input, from, to);
    word(options.stored ? block.length | 0x80000000 : block.length);
    out.push(...block);
    if (options.checksums) word(0xdeadbeef);
  }
  word(0);
  if (options.checksums) word(0xdeadbeef);
  return Uint8Array.from(out);
}

function encodeBlock(input: Uint8Array, from: number, to: number): number[] {
  const out: number[] = [];
  let literals = from;
  let at = from;
  const length = (n: number) => {
    for (n -= 15; n >= 255; n -= 255) out.push(255);
    out.push(n);
  };
  const sequence = (offset: number, match: number) => {
    const count = at - literals;
    out.push((Math.min(count, 15) << 4) | (match === 0 ? 0 : Math.min(match - 4, 15)));
    if (count >= 15) length(count);
    out.push(...input.subarray(literals, at));
    if (match > 0) {
      out.push(offset & 255, offset >> 8);
      if (match - 4 >= 15) length(match - 4);
    }
  };
  while (at < to) {
    let best = 0;
    let offset = 0;
    for (let back = 1; back <= Math.min(at, 400); back++) {
      let match = 0;
      while (at + match < to - 5 && input[at + match] === input[at + match - back]) match++;
      if (match > best) [best, offset] = [match, back];
    }
    if (best >= 4) {
      sequence(offset, best);
      at += best;
      literals = at;
    } else at++;
  }
  sequence(0, 0);
  return out;
}

function random(seed: number): () => number {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

test("a frame of any blocks decodes to what went in", () => {
  const next = random(7);
  for (let round = 0; round < 60; round++) {
    const size = Math.floor(next() * 3000);
    const letters = 1 + Math.floor(next() * 6);
    const input = Uint8Array.from({ length: size }, () => Math.floor(next() * letters));
    const frame = encodeFrame(input, 1 + Math.floor(next() * 1500), { checksums: next() < 0.5, stored: next() < 0.2 });
    assert.deepEqual(decodeFrame(frame, size), input, `round ${round}`);
  }
});

test("a long run, which a match copies from itself, decodes", () => {
  const input = new Uint8Array(100_000).fill(7);
  assert.deepEqual(decodeFrame(encodeFrame(input, 1 << 16), input.length), input);
});

test("a damaged frame is an error and never reads or writes outside", () => {
  const next = random(11);
  const input = Uint8Array.from({ length: 500 }, (_, i) => (i * 7) % 13);
  const frame = encodeFrame(input, 200);
  for (let cut = 0; cut < frame.length; cut++) {
    assert.throws(() => decodeFrame(frame.subarray(0, cut), input.length), Lz4Error, `cut at ${cut}`);
  }
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    const damaged = frame.slice();
    damaged[Math.floor(next() * damaged.length)] ^= 1 << Math.floor(next() * 8);
    try {
      assert.equal(decodeFrame(damaged, input.length).length, input.length);
    } catch (error) {
      assert.ok(error instanceof Lz4Error, String(error));
      refused++;
    }
  }
  assert.ok(refused > 0);
  assert.throws(() => decodeFrame(frame, input.length - 1), /more/);
  assert.throws(() => decodeFrame(frame, input.length + 1), /announced/);
});
