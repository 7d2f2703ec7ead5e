// Reads and writes the outside of a WASM module: its sections, and what is in the short ones. WebAssembly Core
// Specification, chapter 5.

export const [CUSTOM, IMPORT, FUNCTION, EXPORT, CODE] = [0, 2, 3, 7, 10];
/** The magic number and the version, before the first section. */
export const HEAD_BYTES = 8;
/** An import or export of this kind is a function. */
const A_FUNCTION = 0;

/** A place in some bytes, from which on they are read. */
export class Reader {
  constructor(bytes) {
    [this.bytes, this.place] = [bytes, 0];
  }

  get isDone() {
    return this.place >= this.bytes.length;
  }

  take(length) {
    return this.bytes.subarray(this.place, (this.place += length));
  }

  integer() {
    let [value, unit] = [0, 1];
    for (;;) {
      const byte = this.bytes[this.place++];
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
      unit *= 0x80;
    }
  }

  text() {
    return this.take(this.integer()).toString();
  }

  /** Every item of a vector, by what reads one. */
  *vector(item) {
    for (let left = this.integer(); left > 0; left--) yield item();
  }

  limits() {
    const flags = this.take(1)[0];
    this.integer();
    if (flags & 1) this.integer();
  }

  /** What an import is, as it stands there, and whether that is a function. */
  importKind() {
    const start = this.place;
    const kind = this.take(1)[0];
    if (kind === A_FUNCTION) this.integer();
    else if (kind === 1) this.take(1), this.limits();
    else if (kind === 2) this.limits();
    else if (kind === 3) this.take(2);
    else throw new Error(`an import of kind ${kind} is not known here`);
    return { bytes: this.bytes.subarray(start, this.place), isFunction: kind === A_FUNCTION };
  }
}

/** The sections of a module, in order. */
export function* sections(wasm) {
  const reader = new Reader(wasm.subarray(HEAD_BYTES));
  while (!reader.isDone) yield { id: reader.take(1)[0], content: reader.take(reader.integer()) };
}

export function encoded(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

export const sized = (bytes) => Buffer.concat([encoded(bytes.length), bytes]);
export const text = (value) => sized(Buffer.from(value));
export const vector = (items) => Buffer.concat([encoded(items.length), ...items]);
export const section = (id, content) => Buffer.concat([Buffer.from([id]), sized(content)]);

/** A module of sections like those of another. */
export const module = (like, all) => Buffer.concat([like.subarray(0, HEAD_BYTES), ...all]);
