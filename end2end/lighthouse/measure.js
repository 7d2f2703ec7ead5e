// Rates the home page and a chat of the release build with Lighthouse and its settings for phones: `make lighthouse`. Each page
// is rated several times, and the median of each metric is written to the file given as argument. The home page is also loaded
// without throttling, to measure long tasks before and after hydration.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import lighthouse from 'lighthouse';
import { launch } from 'chrome-launcher';
import puppeteer from 'puppeteer-core';

const RUNS = 5;
const VISITS = 5;
/** How long a page is observed after loading, in milliseconds. */
const WATCHED = 2_000;
const MESSAGES = 50;
const CHATS = 5_000;
const CHATS_AT_ONCE = 50;
const CATEGORIES = { performance: 'Performance', accessibility: 'Accessibility', 'best-practices': 'Best practices', seo: 'SEO' };
const AUDITS = {
  'first-contentful-paint': 'FCP',
  'largest-contentful-paint': 'LCP',
  'total-blocking-time': 'TBT',
  'cumulative-layout-shift': 'CLS',
  'speed-index': 'Speed Index',
  'total-byte-weight': 'transferred',
};

const [file] = process.argv.slice(2);
const program = new URL('../../target/release/qchat', import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), 'qchat-'));
const off = ['page', 'chat', 'message', 'connect', 'rename'].flatMap((rate) => [`--${rate}-rate`, 'off']);
const server = spawn(program, ['--data-dir', folder, '--site-addr', '127.0.0.1:0', '--max-user-chats', String(CHATS + CHATS_AT_ONCE), '--max-listed', String(CHATS), ...off], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, QCHAT_LOG: 'warn' },
});

async function address() {
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /^Qchat is at (http:\S+)$/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error(`${program} did not start`);
}

/** Sends a form as without JavaScript. Returns the path that it redirects to. */
async function submit(url, cookie, action, fields) {
  const answer = await fetch(`${url}/api/${action}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { accept: 'text/html', cookie },
    body: new URLSearchParams(fields),
  });
  const place = answer.headers.get('location');
  if (!place) throw new Error(`${action}: ${answer.status}`);
  return place;
}

const median = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];

async function judge(url, browser) {
  const runs = [];
  for (let run = 0; run < RUNS; run++) {
    const { lhr } = await lighthouse(url, { port: browser.port, onlyCategories: Object.keys(CATEGORIES), logLevel: 'error' });
    runs.push(lhr);
  }
  const failed = new Set(
    runs.flatMap(({ categories, audits }) =>
      Object.values(categories)
        .filter(({ id }) => id !== 'performance')
        .flatMap(({ auditRefs }) => auditRefs.filter(({ id, weight }) => weight > 0 && audits[id].score === 0).map(({ id }) => id)),
    ),
  );
  return {
    version: runs[0].lighthouseVersion,
    scores: Object.keys(CATEGORIES).map((id) => Math.round(100 * median(runs.map(({ categories }) => categories[id].score)))),
    figures: Object.keys(AUDITS).map((id) => median(runs.map(({ audits }) => audits[id].numericValue))),
    failed: [...failed],
  };
}

/** Loads a page. Returns the time until it is live, and the durations of its long tasks (50 ms and more), in milliseconds. */
async function visit(url, browser) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.evaluateOnNewDocument(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => {
      window.longTasks.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration })));
    }).observe({ type: 'longtask', buffered: true });
  });
  await page.goto(url);
  const isLive = () => document.querySelector('[role=status][aria-label=Connection]')?.textContent === 'Connected' && performance.now();
  const liveAt = await (await page.waitForFunction(isLive, { polling: 'mutation' })).jsonValue();
  const tasks = await page.evaluate((watched) => new Promise((done) => setTimeout(() => done(window.longTasks), watched)), WATCHED);
  await context.close();
  const millis = (some) => some.map(({ duration }) => Math.round(duration));
  const isBefore = ({ startTime }) => startTime < liveAt;
  return { liveAt: Math.round(liveAt), before: millis(tasks.filter(isBefore)), after: millis(tasks.filter((task) => !isBefore(task))) };
}

async function visits(url, port) {
  const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${port}`, defaultViewport: { width: 412, height: 823 } });
  const all = [];
  for (let number = 0; number < VISITS; number++) all.push(await visit(url, browser));
  await browser.disconnect();
  const list = (values) => values.join(', ') || 'none';
  return `${VISITS} visits to that home page on these cores, without throttling: hydrated after ${list(all.map(({ liveAt }) => liveAt))} ms. Long
tasks (50 ms and more) before hydration: ${list(all.flatMap(({ before }) => before))}; in the ${WATCHED / 1_000} s after it: ${list(all.flatMap(({ after }) => after))}.`;
}

function line(name, { scores, figures }) {
  const [paint, largest, blocked, shift, index, bytes] = figures;
  const millis = [paint, largest, blocked, index].map((value) => `${(value / 1000).toFixed(2)} s`);
  const all = [millis[0], millis[1], millis[2], shift.toFixed(3), millis[3], `${Math.round(bytes / 1000)} kB`];
  return `| ${name} | ${[...scores, ...all].join(' | ')} |`;
}

let browser;
try {
  const url = await address();
  const first = await fetch(url);
  const cookie = first.headers.get('set-cookie').split(';')[0];
  let chat;
  for (let number = 0; number < CHATS; number += CHATS_AT_ONCE) {
    const some = Array.from({ length: CHATS_AT_ONCE }, (_, place) => ({ nickname: 'Ana', title: `Room ${number + place}` }));
    [chat] = await Promise.all(some.map((fields) => submit(url, cookie, 'start_chat', fields)));
  }
  for (let number = 0; number < MESSAGES; number++) {
    const id = chat.replace('/chat/', '');
    const clientId = number.toString(16).padStart(16, '0').replace(/[ilou]/g, '0');
    await submit(url, cookie, 'post_message', { chat: id, client_id: clientId, body: `What was said as number ${number}, at some length.` });
  }
  browser = await launch({ chromePath: process.env.QCHAT_BROWSER, chromeFlags: ['--headless=new', '--no-sandbox'] });
  const pages = { home: await judge(url, browser), chat: await judge(url + chat, browser) };
  const visited = await visits(url, browser.port);
  const heads = [...Object.values(CATEGORIES), ...Object.values(AUDITS)];
  const failed = Object.entries(pages).flatMap(([name, { failed }]) => failed.map((id) => `${name}: ${id}`));
  const machine = `${cpus().length} cores of ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  const text = `# Lighthouse

${new Date().toISOString().slice(0, 10)}, ${machine}, Lighthouse ${pages.home.version} with its settings for phones (throttled CPU and
network), release build, median of ${RUNS} runs: a home page with ${CHATS} chats, and a chat with ${MESSAGES} messages. \`make lighthouse\`

| page | ${heads.join(' | ')} |
|---|${heads.map(() => '---:|').join('')}
${line('home', pages.home)}
${line('chat', pages.chat)}

${visited}

${failed.length ? `Failed audits: ${failed.join(', ')}` : 'No audit of accessibility, best practices or SEO failed.'}
`;
  if (file) await writeFile(file, text);
  process.stdout.write(text);
} finally {
  await browser?.kill();
  server.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}
