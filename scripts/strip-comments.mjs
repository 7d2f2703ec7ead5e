// Takes the comments out of the site's own scripts, and compresses them again: a third of what is sent of them. The site works
// without it. `strip-comments.mjs SITE`, after `cargo leptos build --frontend-only --precompress`.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const [site] = process.argv.slice(2);
if (!site) throw new Error('usage: strip-comments.mjs SITE');
const root = resolve(site);
const pieces = readdirSync(join(root, 'later')).filter((file) => file.endsWith('.js'));
const files = ['boot.js', 'later.js', ...pieces.map((file) => join('later', file))];

// TypeScript reads the scripts as they are, and writes them without comments. The target is newer than all that they use, so that
// nothing else changes.
const options = ['--allowJs', '--noCheck', '--removeComments', '--target', 'esnext', '--module', 'esnext', '--moduleResolution', 'bundler', '--types', ''];
const folder = mkdtempSync(join(tmpdir(), 'qchat-scripts-'));
try {
  const paths = files.map((file) => join(root, file));
  execFileSync('tsc', ['--ignoreConfig', ...options, '--rootDir', root, '--outDir', folder, ...paths], { stdio: 'inherit' });
  for (const file of files) {
    const script = readFileSync(join(folder, file));
    const path = join(root, file);
    writeFileSync(path, script);
    writeFileSync(`${path}.br`, brotliCompressSync(script, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: script.length } }));
    writeFileSync(`${path}.gz`, gzipSync(script, { level: 9 }));
  }
} finally {
  rmSync(folder, { recursive: true });
}
