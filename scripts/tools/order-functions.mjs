// Says in which order the functions of a WASM module pack best: `order-functions.mjs IN OUT` gives each a name by its place,
// for `wasm-opt --reorder-functions-by-name` to move them there. Brotli is good at what was said a moment ago, so each
// function is followed by the one that has most in common with it. Sections and integers: WebAssembly Core Specification,
// chapter 5.

import { readFileSync, writeFileSync } from 'node:fs';

/** Functions have in common what so many bytes in a row are alike. */
const RUN = 4;
/** Runs that more functions have than this say nothing about any of them. */
const COMMON = 3_000;
/** Of so many that have most runs in common the likest one is looked for. */
const CANDIDATES = 40;
/** With less in common than this two functions are strangers. */
const LIKE = 0.05;

const [CUSTOM, IMPORT, FUNCTION, CODE] = [0, 2, 3, 10];
const [input, output] = process.argv.slice(2);
const wasm = readFileSync(input);
let place = 8;

function integer() {
  let [value, unit] = [0, 1];
  for (;;) {
    const byte = wasm[place++];
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) return value;
    unit *= 0x80;
  }
}

function encoded(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

const text = () => {
  const length = integer();
  place += length;
};
const limits = () => {
  const flags = wasm[place++];
  integer();
  if (flags & 1) integer();
};

/** Passes over an import, and says whether it is a function. */
function isFunction() {
  text();
  text();
  const kind = wasm[place++];
  if (kind === 0) integer();
  else if (kind === 1) place++, limits();
  else if (kind === 2) limits();
  else if (kind === 3) place += 2;
  else throw new Error(`${input}: an import of kind ${kind} is not known here`);
  return kind === 0;
}

const [types, bodies, kept] = [[], [], []];
let imported = 0;
while (place < wasm.length) {
  const start = place;
  const section = wasm[place++];
  const size = integer();
  const end = place + size;
  if (section === IMPORT) for (let left = integer(); left > 0; left--) imported += isFunction();
  if (section === FUNCTION) for (let left = integer(); left > 0; left--) types.push(integer());
  if (section === CODE)
    for (let left = integer(); left > 0; left--) {
      const length = integer();
      bodies.push(wasm.subarray(place, (place += length)));
    }
  if (section !== CUSTOM) kept.push(wasm.subarray(start, end));
  place = end;
}

/** The runs of a function, each as a number. */
function runs(body) {
  const found = new Set();
  for (let at = 0; at + RUN <= body.length; at++) found.add(body.readUIntBE(at, RUN));
  return found;
}

const runsOf = bodies.map(runs);
const whose = new Map();
runsOf.forEach((found, number) => {
  for (const run of found) {
    if (!whose.has(run)) whose.set(run, []);
    whose.get(run).push(number);
  }
});

const isPlaced = new Uint8Array(bodies.length);

/** The function that is not placed yet and has most in common with this one; nothing where all are strangers. */
function likest(number) {
  const shared = new Map();
  for (const run of runsOf[number]) {
    const others = whose.get(run);
    if (others.length > COMMON) continue;
    for (const other of others) if (!isPlaced[other]) shared.set(other, (shared.get(other) ?? 0) + 1);
  }
  let [found, most] = [undefined, LIKE];
  for (const [other, count] of [...shared].sort((one, two) => two[1] - one[1] || one[0] - two[0]).slice(0, CANDIDATES)) {
    const like = count / (runsOf[number].size + runsOf[other].size - count);
    if (like > most) [found, most] = [other, like];
  }
  return found;
}

// where nothing is alike, what begins alike comes next
const rest = bodies.map((_, number) => number);
rest.sort((one, other) => types[one] - types[other] || Buffer.compare(bodies[one], bodies[other]));
const order = [];
for (let next of rest) {
  while (next !== undefined && !isPlaced[next]) {
    isPlaced[next] = 1;
    order.push(next);
    next = likest(next);
  }
}

const digits = String(order.length).length;
const names = [];
order.forEach((number, rank) => (names[number] = Buffer.from(String(rank).padStart(digits, '0'))));
const sized = (bytes) => Buffer.concat([encoded(bytes.length), bytes]);
const map = names.map((name, number) => Buffer.concat([encoded(imported + number), sized(name)]));
const functions = Buffer.concat([encoded(names.length), ...map]);
const content = Buffer.concat([sized(Buffer.from('name')), Buffer.from([1]), sized(functions)]);
writeFileSync(output, Buffer.concat([wasm.subarray(0, 8), ...kept, Buffer.from([CUSTOM]), sized(content)]));
