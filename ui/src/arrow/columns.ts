/**
 * Arrow IPC streams as plain typed arrays.
 *
 * Nothing here makes an object per row: a column is one array, a string column is row -> index -> text with
 * the distinct texts decoded together.
 */
import { CompressionType, setCompressionCodec, tableFromIPC, type Column, type Table } from "@uwdata/flechette";

import { decodeFrame } from "./lz4";

setCompressionCodec(CompressionType.LZ4_FRAME, {
  decode: (data: Uint8Array, size?: number) => decodeFrame(data, size ?? 0),
  encode: () => {
    throw new Error("replies are only read here");
  },
});

/** A reply that does not have the agreed shape. */
export class ShapeError extends Error {
  constructor(what: string) {
    super(`The server's reply has an unexpected shape: ${what}.`);
    this.name = "ShapeError";
  }
}

/** The parts of flechette's batch that are read here; its own types keep the dictionary private. */
interface RawBatch {
  length: number;
  nullCount: number;
  validity?: Uint8Array;
  values?: ArrayLike<number> | BigInt64Array | BigUint64Array;
  offsets?: Int32Array;
  dictionary?: Column<unknown>;
  children?: RawBatch[];
}

/** Distinct texts of a column; `index[row]` is a position in `texts`, or -1 for null. */
export interface Texts {
  readonly index: Int32Array;
  readonly texts: readonly string[];
}

/** One record batch of an IPC stream. */
export class Columns {
  readonly rows: number;
  readonly names: readonly string[];
  readonly #table: Table;

  /** Opens the stream in `bytes` (any alignment). Throws on a stream that is not exactly one batch. */
  constructor(bytes: Uint8Array) {
    // A copy: columns are viewed in place, which needs an aligned start that a message inside another has not.
    this.#table = tableFromIPC(bytes.slice());
    this.rows = this.#table.numRows;
    this.names = this.#table.names.map(String);
    const batches = this.#table.numCols === 0 ? 0 : this.#table.getChildAt(0).data.length;
    if (batches !== 1) throw new ShapeError(`${batches} record batches instead of one`);
  }

  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** A numeric column, nulls as 0. 64-bit integers lose what does not fit a double (beyond 2^53). */
  numbers(name: string): Float64Array {
    const batch = this.#batch(name);
    const rows = this.rows;
    const out = new Float64Array(rows);
    const values = batch.values;
    if (values === undefined) throw new ShapeError(`column ${name} is not numeric`);
    if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
      // two halves are read far faster than a bigint is converted
      const halves = new Uint32Array(values.buffer, values.byteOffset, rows * 2);
      const high =
        values instanceof BigInt64Array ? new Int32Array(values.buffer, values.byteOffset, rows * 2) : halves;
      for (let row = 0; row < rows; row++) out[row] = high[2 * row + 1] * 4294967296 + halves[2 * row];
    } else {
      for (let row = 0; row < rows; row++) out[row] = values[row];
    }
    if (batch.nullCount > 0 && batch.validity) {
      for (let row = 0; row < rows; row++) if (!isValid(batch.validity, row)) out[row] = 0;
    }
    return out;
  }

  /** An unsigned 64-bit column, exactly (addresses). */
  bigints(name: string): (row: number) => bigint {
    const { values } = this.#batch(name);
    if (values instanceof BigUint64Array) return (row) => values[row];
    const numbers = this.numbers(name);
    return (row) => BigInt(numbers[row]);
  }

  /** A boolean column, nulls as false. */
  bits(name: string): (row: number) => boolean {
    const { values, validity, nullCount } = this.#batch(name);
    if (!(values instanceof Uint8Array)) throw new ShapeError(`column ${name} is not boolean`);
    return (row) => (nullCount === 0 || !validity || isValid(validity, row)) && isValid(values, row);
  }

  /** A dictionary column of texts (UTF-8, whether declared so or as binary). */
  texts(name: string): Texts {
    const batch = this.#batch(name);
    const indices = batch.values as ArrayLike<number> | undefined;
    const dictionary = batch.dictionary?.data as unknown as RawBatch[] | undefined;
    if (!indices || !dictionary) throw new ShapeError(`column ${name} is not a dictionary`);
    const texts = dictionary.flatMap(decodeTexts);
    const index = new Int32Array(this.rows);
    for (let row = 0; row < this.rows; row++) {
      const valid = batch.nullCount === 0 || !batch.validity || isValid(batch.validity, row);
      const at = valid ? indices[row] : -1;
      if (at >= texts.length) throw new ShapeError(`column ${name} points outside its dictionary`);
      index[row] = at;
    }
    return { index, texts };
  }

  #batch(name: string): RawBatch {
    const column = this.#table.getChild(name) as Column<unknown> | undefined;
    if (!column) throw new ShapeError(`column ${name} is missing`);
    return column.data[0] as unknown as RawBatch;
  }
}

function isValid(bits: Uint8Array, row: number): boolean {
  return ((bits[row >> 3] >> (row & 7)) & 1) === 1;
}

const utf8 = new TextDecoder();

/** All texts of a dictionary batch. Pure ASCII, the common case, is decoded in one call and cut. */
function decodeTexts(batch: RawBatch): string[] {
  const { offsets, length } = batch;
  const bytes = batch.values as Uint8Array | undefined;
  if (!offsets || !bytes) throw new ShapeError("a dictionary does not hold texts");
  const out = new Array<string>(length);
  const first = length === 0 ? 0 : offsets[0];
  const all = bytes.subarray(first, length === 0 ? 0 : offsets[length]);
  const text = utf8.decode(all);
  const ascii = text.length === all.length;
  for (let i = 0; i < length; i++) {
    out[i] = ascii
      ? text.slice(offsets[i] - first, offsets[i + 1] - first)
      : utf8.decode(bytes.subarray(offsets[i], offsets[i + 1]));
  }
  return out;
}
