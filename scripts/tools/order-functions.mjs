// Says in which order the functions of a WASM module pack best: `order-functions.mjs IN OUT` gives each a name by its place,
// for `wasm-opt --reorder-functions-by-name` to move them there. Brotli is good at what was said a moment ago, so each
// function is followed by the one that has most in common with it.

import { readFileSync, writeFileSync } from 'node:fs';

import { CODE, CUSTOM, FUNCTION, IMPORT, Reader, encoded, module, section, sections, sized, text, vector } from './wasm.mjs';

/** Functions have in common what so many bytes in a row are alike. */
const RUN = 4;
/** Runs that more functions have than this say nothing about any of them. */
const COMMON = 3_000;
/** Of so many that have most runs in common the likest one is looked for. */
const CANDIDATES = 40;
/** With less in common than this two functions are strangers. */
const LIKE = 0.05;

const [input, output] = process.argv.slice(2);
const wasm = readFileSync(input);

const [types, bodies, kept] = [[], [], []];
let imported = 0;
for (const { id, content } of sections(wasm)) {
  const reader = new Reader(content);
  if (id === IMPORT) {
    const kinds = reader.vector(() => {
      reader.text();
      reader.text();
      return reader.importKind();
    });
    imported = [...kinds].filter(({ isFunction }) => isFunction).length;
  }
  if (id === FUNCTION) types.push(...reader.vector(() => reader.integer()));
  if (id === CODE) bodies.push(...reader.vector(() => reader.take(reader.integer())));
  if (id !== CUSTOM) kept.push(section(id, content));
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
const map = names.map((name, number) => Buffer.concat([encoded(imported + number), sized(name)]));
// the names of functions are part 1 of the section of names
const content = Buffer.concat([text('name'), section(1, vector(map))]);
writeFileSync(output, module(wasm, [...kept, section(CUSTOM, content)]));
