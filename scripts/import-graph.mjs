// Prints the import graph of the modules of each crate, and fails if it has a cycle. With `--check` it also fails if the graph in
// docs/architecture.md is another one, and with `--write` it writes the graph into that file.
//
// A module is a file directly in the `src` of a crate, together with everything in the folder of the same name. In the folders in
// `WITHIN`, which hold most of their crate, each file is a module. Tests are ignored.

import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const CRATES = ['domain', 'engine', 'cluster', 'app', 'frontend', 'server'];
const WITHIN = { app: ['view', 'page', 'live'], server: ['http'] };
const DOCUMENT = 'docs/architecture.md';
const [BEGIN, END] = ['<!-- import graph: made by scripts/import-graph.mjs -->', '<!-- end of the import graph -->'];

/** Returns the Rust files in a folder and its subfolders, without tests. */
const files = (folder) =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return name === 'tests' ? [] : files(path);
    return name.endsWith('.rs') && name !== 'tests.rs' ? [path] : [];
  });

/** Returns the paths that a source text uses relative to `place`, such as `http::client::Client` relative to the crate root. */
function named(text, place) {
  const paths = [];
  const expand = (prefix, rest) => {
    // expands `{a, b::{c, d}}` after a prefix
    let depth = 0;
    let item = '';
    const items = [];
    for (const letter of rest) {
      if (letter === '{') depth += 1;
      if (letter === '}') depth -= 1;
      if (letter === ',' && depth === 0) {
        items.push(item);
        item = '';
      } else item += letter;
    }
    for (const one of [...items, item].map((one) => one.trim()).filter(Boolean)) {
      const group = /^((?:\w+::)*)\{([\s\S]*)\}$/.exec(one);
      if (group) expand(prefix + group[1], group[2]);
      else paths.push(prefix + one);
    }
  };
  for (const [, path] of text.matchAll(new RegExp(`\\b${place}::((?:\\w+::)*(?:\\w+|\\{[^;]*\\}))`, 'g'))) expand('', path);
  return paths.map((path) => path.split('::'));
}

const graphs = CRATES.map((crate) => {
  const source = join(crate, 'src');
  const all = files(source);
  const within = WITHIN[crate] ?? [];
  const parts = (path) => path.replace(/\.rs$/, '').slice(source.length + 1).split('/');
  /** Returns the module that a path is in. */
  const moduleOf = ([first, second]) => (within.includes(first) && second && second !== 'self' ? `${first}::${second}` : first);
  const known = new Set(all.map((path) => moduleOf(parts(path))));
  // the items that the crate root re-exports from its modules
  const root = readFileSync(join(source, 'lib.rs'), 'utf8').replace(/pub use /g, 'pub use root::');
  const shown = new Map(named(root, 'pub use root').map((path) => [path.at(-1), moduleOf(path)]));
  const edges = new Map();
  for (const path of all) {
    const from = moduleOf(parts(path));
    if (['lib', 'main'].includes(basename(path, '.rs')) && parts(path).length === 1) continue;
    const text = readFileSync(path, 'utf8').split(/^#\[cfg\(test\)\]\nmod \w+ \{$/m)[0].replace(/^\s*\/\/.*$/gm, '');
    const folder = from.includes('::') && parts(path).length === 2 ? [parts(path)[0]] : [];
    const near = named(text, 'super').map((path) => [...folder, ...path]);
    const isAtTop = parts(path).length === 1 || folder.length > 0;
    for (const [first, second] of [...named(text, 'crate'), ...(isAtTop ? near : [])]) {
      const module = moduleOf([first, second]);
      const to = known.has(module) ? module : known.has(first) ? first : shown.get(first);
      if (known.has(to) && to !== from) edges.set(from, (edges.get(from) ?? new Set()).add(to));
    }
  }
  return { crate, edges };
});

/** Returns the modules of an import cycle, or null if there is none. */
function circle(edges) {
  const state = new Map();
  const path = [];
  const visit = (module) => {
    if (state.get(module) === 'done') return null;
    if (state.get(module) === 'open') return [...path.slice(path.indexOf(module)), module];
    state.set(module, 'open');
    path.push(module);
    for (const next of edges.get(module) ?? []) {
      const found = visit(next);
      if (found) return found;
    }
    path.pop();
    state.set(module, 'done');
    return null;
  };
  for (const module of edges.keys()) {
    const found = visit(module);
    if (found) return found;
  }
  return null;
}

const drawn = graphs
  .map(({ crate, edges }) => {
    const lines = [...edges].flatMap(([from, to]) => [...to].map((one) => `  ${from.replace('::', '/')} --> ${one.replace('::', '/')}`));
    return `\`${crate}\`\n\n\`\`\`mermaid\ngraph LR\n${lines.sort().join('\n')}\n\`\`\`\n`;
  })
  .join('\n');

const circles = graphs.map(({ crate, edges }) => [crate, circle(edges)]).filter(([, found]) => found);
for (const [crate, found] of circles) console.error(`${crate}: these modules import each other in a circle: ${found.join(' -> ')}`);

const [mode] = process.argv.slice(2);
if (!mode) console.log(drawn);
if (mode) {
  const document = readFileSync(DOCUMENT, 'utf8');
  const [before, rest] = document.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`${DOCUMENT} has no place for the import graph`);
  const updated = `${before}${BEGIN}\n\n${drawn}\n${END}${after}`;
  if (mode === '--write') writeFileSync(DOCUMENT, updated);
  else if (updated !== document) {
    console.error(`${DOCUMENT} shows another import graph: run \`node scripts/import-graph.mjs --write\``);
    process.exitCode = 1;
  }
}
if (circles.length > 0) process.exitCode = 1;
