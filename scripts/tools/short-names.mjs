// Gives what a WASM module and its script call each other by names of a letter or two: `short-names.mjs WASM SCRIPT`, both
// changed where they are. wasm-bindgen's names carry hashes, which nothing makes shorter when they are packed, and stand in
// both. What the script does not ask of the module is no export any more, and what the page does not ask of the script is
// none either.

import { readFileSync, writeFileSync } from 'node:fs';

import { CUSTOM, EXPORT, IMPORT, Reader, module, section, sections, text, vector } from './wasm.mjs';

/** What the page asks of the script: `app/src/shell.rs`. */
const EXPORTED = 'export { __wbg_init as default };';
/** The functions of the script stand in the module under this name, and in the script as a field of what it is given. */
const FROM = /"\.\/\w+\.js": /;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

const [wasmFile, scriptFile] = process.argv.slice(2);
const wasm = readFileSync(wasmFile);
let script = readFileSync(scriptFile, 'utf8');

/** Where wasm-bindgen writes something else than it did, this has to be looked at again. */
function replaced(what, by) {
  const all = script.match(what);
  if (!all) throw new Error(`${scriptFile}: there is no ${what}`);
  script = script.replace(what, by);
}

/** A map that gives a new short name to whatever it is asked for. */
class Names extends Map {
  of(name) {
    if (!this.has(name)) this.set(name, this.at(this.size));
    return this.get(name);
  }

  at(place) {
    const [rest, letter] = [Math.floor(place / LETTERS.length), LETTERS[place % LETTERS.length]];
    return rest === 0 ? letter : this.at(rest - 1) + letter;
  }
}

const [imports, exports] = [new Names(), new Names()];
const asked = new Set(Array.from(script.matchAll(/\bwasm\.(\w+)/g), ([, name]) => name));

function shortImports(content) {
  const reader = new Reader(content);
  const short = () => {
    reader.text();
    const name = reader.text();
    return Buffer.concat([text('q'), text(imports.of(name)), reader.importKind().bytes]);
  };
  return vector([...reader.vector(short)]);
}

function shortExports(content) {
  const reader = new Reader(content);
  const all = reader.vector(() => {
    const name = reader.text();
    const start = reader.place;
    reader.take(1);
    reader.integer();
    return { name, what: content.subarray(start, reader.place) };
  });
  const kept = [...all].filter(({ name }) => asked.has(name));
  return vector(kept.map(({ name, what }) => Buffer.concat([text(exports.of(name)), what])));
}

const kept = Array.from(sections(wasm), ({ id, content }) => {
  if (id === IMPORT) return section(id, shortImports(content));
  if (id === EXPORT) return section(id, shortExports(content));
  return id === CUSTOM ? Buffer.of() : section(id, content);
});

replaced(/^export \{ initSync, __wbg_init as default \};$/m, EXPORTED);
replaced(FROM, 'q: ');
for (const [name, short] of imports) replaced(new RegExp(`^(\\s+)${name}(?=[:(])`, 'm'), `$1${short}`);
script = script.replace(/\bwasm\.(\w+)/g, (_, name) => `wasm.${exports.of(name)}`);

writeFileSync(wasmFile, module(wasm, kept));
writeFileSync(scriptFile, script);
