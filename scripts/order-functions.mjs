// Reorders the functions of the site's WASM so that similar ones are next to each other, and compresses it again: brotli
// finds repetition best when it is near. It saves 13 kB of a first visit (docs/performance.md); the site works without it.
// `order-functions.mjs SITE`, after `cargo leptos build --frontend-only --precompress`.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

/** Identifiers of sections, and the kinds of imports (WebAssembly Core Specification, 5.5). */
const [CUSTOM, IMPORT, FUNCTION, CODE] = [0, 2, 3, 10];
const [A_FUNCTION, A_TABLE, A_MEMORY, A_GLOBAL] = [0, 1, 2, 3];
/** The magic number and the version, before the first section, in bytes. */
const HEAD = 8;

/** The features of WASM that the compiler uses, as in Cargo.toml. */
const FEATURES = ['bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-float-to-int', 'reference-types', 'sign-ext'].map(
  (feature) => `--enable-${feature}`,
);

/** The similarity of two functions is the Jaccard index of their byte n-grams, which have this length. */
const NGRAM_BYTES = 4;
/** N-grams that are in more functions than this are not counted as shared. */
const MAX_FUNCTIONS_PER_NGRAM = 3_000;
/** The number of functions, with the most n-grams in common, among which the most similar is searched. */
const CANDIDATES = 40;
/** The similarity that functions have to exceed to be put next to each other, from 0 to 1. */
const MIN_SIMILARITY = 0.05;

/** Reads numbers, texts and vectors from bytes. */
class Reader {
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

  skipLimits() {
    const flags = this.take(1)[0];
    this.integer();
    if (flags & 1) this.integer();
  }

  /** Reads an import and returns its kind. */
  readImport() {
    this.take(this.integer());
    this.take(this.integer());
    const kind = this.take(1)[0];
    if (kind === A_FUNCTION) this.integer();
    else if (kind === A_TABLE) this.take(1), this.skipLimits();
    else if (kind === A_MEMORY) this.skipLimits();
    else if (kind === A_GLOBAL) this.take(2);
    else throw new Error(`imports of kind ${kind} are not supported`);
    return kind;
  }

  /** Reads a vector, each item by `item`. */
  vector(item) {
    return Array.from({ length: this.integer() }, item);
  }
}

function integer(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}
const sized = (bytes) => Buffer.concat([integer(bytes.length), bytes]);
const section = (id, content) => Buffer.concat([Buffer.from([id]), sized(content)]);

/** Returns the types and the bodies of the functions of a module, the number of imported functions, and its sections. */
function parse(wasm) {
  const all = new Reader(wasm.subarray(HEAD));
  const module = { types: [], bodies: [], imported: 0, sections: [] };
  while (!all.isDone) {
    const id = all.take(1)[0];
    const content = all.take(all.integer());
    const reader = new Reader(content);
    if (id === IMPORT) module.imported = reader.vector(() => reader.readImport()).filter((kind) => kind === A_FUNCTION).length;
    if (id === FUNCTION) module.types = reader.vector(() => reader.integer());
    if (id === CODE) module.bodies = reader.vector(() => reader.take(reader.integer()));
    if (id !== CUSTOM) module.sections.push(section(id, content));
  }
  return module;
}

/** Returns the indices of the functions in their new order: each is followed by the most similar one that is left. */
function ordered({ types, bodies }) {
  const ngramsOf = bodies.map((body) => {
    const ngrams = new Set();
    for (let at = 0; at + NGRAM_BYTES <= body.length; at++) ngrams.add(body.readUIntBE(at, NGRAM_BYTES));
    return ngrams;
  });
  const functionsWith = new Map();
  ngramsOf.forEach((ngrams, index) => {
    for (const ngram of ngrams) {
      if (!functionsWith.has(ngram)) functionsWith.set(ngram, []);
      functionsWith.get(ngram).push(index);
    }
  });
  const isPlaced = new Uint8Array(bodies.length);
  const mostSimilar = (index) => {
    const shared = new Map();
    for (const ngram of ngramsOf[index]) {
      const others = functionsWith.get(ngram);
      if (others.length > MAX_FUNCTIONS_PER_NGRAM) continue;
      for (const other of others) if (!isPlaced[other]) shared.set(other, (shared.get(other) ?? 0) + 1);
    }
    let [found, most] = [undefined, MIN_SIMILARITY];
    const candidates = [...shared].sort(([a, inA], [b, inB]) => inB - inA || a - b).slice(0, CANDIDATES);
    for (const [other, count] of candidates) {
      const similarity = count / (ngramsOf[index].size + ngramsOf[other].size - count);
      if (similarity > most) [found, most] = [other, similarity];
    }
    return found;
  };
  const order = [];
  // Where none is similar, the next one is the first of the rest by type and content.
  const rest = bodies.map((_, index) => index);
  rest.sort((a, b) => types[a] - types[b] || Buffer.compare(bodies[a], bodies[b]));
  for (let next of rest) {
    while (next !== undefined && !isPlaced[next]) {
      isPlaced[next] = 1;
      order.push(next);
      next = mostSimilar(next);
    }
  }
  return order;
}

/** Returns the module with a name for each function by which wasm-opt sorts it to its place. */
function named(wasm, module) {
  const order = ordered(module);
  const digits = String(order.length).length;
  const names = [];
  order.forEach((index, place) => (names[index] = Buffer.from(String(place).padStart(digits, '0'))));
  const map = names.map((name, index) => Buffer.concat([integer(module.imported + index), sized(name)]));
  // The names of functions are subsection 1 of the custom section `name`.
  const functions = section(1, Buffer.concat([integer(map.length), ...map]));
  const custom = section(CUSTOM, Buffer.concat([sized(Buffer.from('name')), functions]));
  return Buffer.concat([wasm.subarray(0, HEAD), ...module.sections, custom]);
}

const file = join(process.argv[2], 'pkg', 'qchat.wasm');
const folder = mkdtempSync(join(tmpdir(), 'order-functions-'));
try {
  const wasm = readFileSync(file);
  const namedFile = join(folder, 'named.wasm');
  writeFileSync(namedFile, named(wasm, parse(wasm)));
  const options = [...FEATURES, '--reorder-functions-by-name', '--strip-debug'];
  execFileSync('wasm-opt', [...options, namedFile, '-o', file], { stdio: 'inherit' });
} finally {
  rmSync(folder, { recursive: true });
}
const wasm = readFileSync(file);
const parameters = { [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length };
writeFileSync(`${file}.br`, brotliCompressSync(wasm, { params: parameters }));
writeFileSync(`${file}.gz`, gzipSync(wasm, { level: 9 }));
