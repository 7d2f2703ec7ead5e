// Prints what a browser is sent, in kB of brotli, and fails if it is more than the budget (docs/adr/0024-the-tools-as-released.md and
// 0036-what-comes-later-is-modules.md).
// `sizes.mjs` measures the pieces that come later, from their sources; `sizes.mjs SITE` measures a built site, and with it the
// first visit to a chat, without the page itself.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

/** The budget of a piece, with all that it loads, in kB. */
const PIECE = 25;
/** The budget of a first visit, in kB. */
const FIRST_VISIT = 185;

/** The files that every live page loads. */
const FIRST_FILES = ['pkg/qchat.wasm', 'pkg/qchat.js', 'pkg/qchat.css', 'boot.js', 'later.js'];
/** What pieces load beside themselves and the stylesheet. A piece that loads another one is counted without it. */
const ALSO = { 'emoji.js': ['emoji.txt'] };

const site = process.argv[2];
const root = site ?? join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../style/public');

const compress = (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
/** Returns the size of a file as it is sent: as the site has it, or compressed here. */
const bytesOf = (file) => {
  const path = join(root, file);
  return existsSync(`${path}.br`) ? readFileSync(`${path}.br`).length : compress(readFileSync(path)).length;
};
const kB = (bytes) => (bytes / 1_000).toFixed(1).padStart(7);

let isWithin = true;
const row = (name, bytes, budget) => {
  const isOver = budget !== undefined && bytes > budget * 1_000;
  isWithin &&= !isOver;
  console.log(`${kB(bytes)}  ${name}${isOver ? `, over its ${budget} kB` : ''}`);
};
const sum = (files) => files.reduce((total, file) => total + bytesOf(file), 0);

if (site) {
  for (const file of FIRST_FILES) row(file, bytesOf(file));
  row('first visit', sum(FIRST_FILES), FIRST_VISIT);
}
const style = bytesOf('later/later.css');
row('later/later.css', style);
for (const file of readdirSync(join(root, 'later')).filter((file) => file.endsWith('.js')).sort()) {
  const also = ALSO[file] ?? [];
  row([`later/${file}`, ...also, 'later.css'].join(' + '), sum([`later/${file}`, ...also]) + style, PIECE);
}
process.exitCode = isWithin ? 0 : 1;
