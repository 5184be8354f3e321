/** Writes pprof files: just enough of profile.proto to give the server something known to show. */
import { gzipSync } from "node:zlib";

export interface Sample {
  /** Function names, root first. */
  readonly stack: readonly string[];
  readonly value: number;
}

export interface Profile {
  readonly sampleType: readonly [type: string, unit: string];
  readonly periodType: readonly [type: string, unit: string];
  readonly period: number;
  /** Unix ms, and how long it covers: 0 for a snapshot. */
  readonly timeMs: number;
  readonly durationMs: number;
  readonly binary: string;
  readonly samples: readonly Sample[];
}

export function encodePprof(profile: Profile): Uint8Array {
  const strings = new Map<string, number>([["", 0]]);
  const string = (text: string): number => {
    let at = strings.get(text);
    if (at === undefined) strings.set(text, (at = strings.size));
    return at;
  };
  const locations = new Map<string, number>();
  const location = (name: string): number => {
    let id = locations.get(name);
    if (id === undefined) locations.set(name, (id = locations.size + 1));
    return id;
  };

  const out = new Writer();
  const valueType = ([type, unit]: readonly [string, string]) =>
    new Writer().varint(1, string(type)).varint(2, string(unit));
  out.message(1, valueType(profile.sampleType));
  for (const { stack, value } of profile.samples) {
    // pprof has the leaf first
    const ids = stack.map(location).reverse();
    out.message(2, new Writer().packed(1, ids).packed(2, [value]));
  }
  out.message(3, new Writer().varint(1, 1).varint(5, string(profile.binary)).varint(7, 1));
  for (const [name, id] of locations) {
    out.message(
      4,
      new Writer()
        .varint(1, id)
        .varint(2, 1)
        .message(4, new Writer().varint(1, id).varint(2, 10 + id)),
    );
    const file = string(`src/${name.split(/[.:]/)[0]}.rs`);
    out.message(5, new Writer().varint(1, id).varint(2, string(name)).varint(3, string(name)).varint(4, file));
  }
  out.varint(9, profile.timeMs * 1e6).varint(10, profile.durationMs * 1e6);
  out.message(11, valueType(profile.periodType)).varint(12, profile.period);
  for (const text of strings.keys()) out.bytes(6, new TextEncoder().encode(text));
  return gzipSync(out.done(), { level: 1 });
}

/** Protobuf's wire format. */
class Writer {
  readonly #bytes: number[] = [];

  varint(field: number, value: number): this {
    this.#raw(field << 3);
    this.#raw(value);
    return this;
  }

  packed(field: number, values: readonly number[]): this {
    const inner = new Writer();
    for (const value of values) inner.#raw(value);
    return this.message(field, inner);
  }

  message(field: number, inner: Writer): this {
    return this.bytes(field, inner.#bytes);
  }

  bytes(field: number, content: ArrayLike<number>): this {
    this.#raw((field << 3) | 2);
    this.#raw(content.length);
    for (let at = 0; at < content.length; at++) this.#bytes.push(content[at]);
    return this;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  #raw(value: number): void {
    let rest = BigInt(value);
    while (rest > 127n) {
      this.#bytes.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    this.#bytes.push(Number(rest));
  }
}
