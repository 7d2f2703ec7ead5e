// Drives browsers of three engines by the commands of W3C WebDriver, so that the same story runs in each: Chromium and WebKit by
// their drivers, and Firefox over Marionette, the protocol that geckodriver uses. Playwright cannot drive the last two as Linux
// distributions build them. Pages have only the operations that stories need. Each browser has a profile of its own, and ends
// with its story.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@playwright/test';
import { chromiumFlags } from './chromium.ts';
import { firstOf, onPath } from './path.ts';
import { freePort } from './port.ts';

/** How long to wait for an expected state. */
const TIMEOUT_MILLIS = 8_000;
/** How long a browser may take to start, or to answer a command. */
const COMMAND_MILLIS = 30_000;
/** The key of the identifier of an element in WebDriver (section 12). */
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

/** The error code, defined here, for a function that ran in a page that was unloaded. */
const UNLOADED = 'document unloaded';

/** The commands in use: the name in Marionette, and the method and path in WebDriver. */
const commands = {
  start: ['WebDriver:NewSession', 'POST'],
  navigate: ['WebDriver:Navigate', 'POST', '/url'],
  address: ['WebDriver:GetCurrentURL', 'GET', '/url'],
  back: ['WebDriver:Back', 'POST', '/back'],
  forward: ['WebDriver:Forward', 'POST', '/forward'],
  reload: ['WebDriver:Refresh', 'POST', '/refresh'],
  window: ['WebDriver:GetWindowHandle', 'GET', '/window'],
  windows: ['WebDriver:GetWindowHandles', 'GET', '/window/handles'],
  switchTo: ['WebDriver:SwitchToWindow', 'POST', '/window'],
  resize: ['WebDriver:SetWindowRect', 'POST', '/window/rect'],
  label: ['WebDriver:GetComputedLabel', 'GET', '/element/{id}/computedlabel'],
  click: ['WebDriver:ElementClick', 'POST', '/element/{id}/click'],
  clear: ['WebDriver:ElementClear', 'POST', '/element/{id}/clear'],
  type: ['WebDriver:ElementSendKeys', 'POST', '/element/{id}/value'],
  act: ['WebDriver:PerformActions', 'POST', '/actions'],
  run: ['WebDriver:ExecuteScript', 'POST', '/execute/sync'],
  screenshot: ['WebDriver:TakeScreenshot', 'GET', '/screenshot'],
} as const;
type Parameters = Record<string, unknown>;

/** A connection that sends commands to a browser. */
type Driver = {
  send: (command: keyof typeof commands, parameters?: Parameters) => Promise<unknown>;
  end: () => Promise<void>;
};

/** The error of a command, with its code in WebDriver (section 6.6). */
class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(`${code}: ${message}`);
  }
}

/** A browser engine: its name, whether it is installed, and how to start it with a profile folder. */
export type Engine = { name: 'Chromium' | 'Firefox' | 'WebKit'; isHere: boolean; launch: (folder: string) => Promise<Driver> };

/** Returns the path of the MiniBrowser of WebKit. Distributions put it beside the library, in a folder for each architecture and
 *  version. */
function miniBrowser(): string | undefined {
  if (!existsSync('/usr/lib')) return undefined;
  const versions = ['webkitgtk-6.0', 'webkit2gtk-4.1', 'webkit2gtk-4.0'];
  const folders = readdirSync('/usr/lib').filter((name) => name.endsWith('-linux-gnu'));
  return firstOf(folders.flatMap((folder) => versions.map((version) => join('/usr/lib', folder, version, 'MiniBrowser'))));
}
const chromium = { driver: onPath('chromedriver'), browser: process.env.QCHAT_BROWSER };
const firefox = onPath('firefox-esr', 'firefox');
const webKit = { driver: onPath('WebKitWebDriver'), browser: miniBrowser(), display: onPath('Xvfb') };

/** All engines, whether or not they are installed. */
export const engines: Engine[] = [
  { name: 'Chromium', isHere: Object.values(chromium).every(Boolean), launch: launchChromium },
  { name: 'Firefox', isHere: !!firefox, launch: launchFirefox },
  { name: 'WebKit', isHere: Object.values(webKit).every(Boolean), launch: launchWebKit },
];

/** Starts a program. `end` kills it together with its child processes. */
function start(program: string, parameters: string[], environment: Record<string, string>): { child: ChildProcess; end: () => Promise<void> } {
  const child = spawn(program, parameters, {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    env: { ...process.env, LANG: 'en_GB.UTF-8', TZ: 'Europe/Berlin', ...environment },
    // a process group of its own, so that all of it can be killed at once
    detached: true,
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()));
  const end = async () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // it has exited already
    }
    await gone;
  };
  return { child, end };
}

/** Calls `ask` until it returns a value. Throws after a timeout. */
async function until<T>(what: string, ask: () => Promise<T | undefined>, millis = TIMEOUT_MILLIS): Promise<T> {
  const deadline = Date.now() + millis;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${millis / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function launchChromium(folder: string): Promise<Driver> {
  const { driver, end } = await startDriver('ChromeDriver', chromium.driver!, {});
  const args = ['--headless', '--window-size=1280,1024', `--user-data-dir=${folder}`, ...chromiumFlags];
  const options = { binary: chromium.browser, args };
  return session(driver, { browserName: 'chrome', 'goog:chromeOptions': options }, end);
}

/** Starts a WebDriver server on a free port. Returns its address, and a function that ends it. */
async function startDriver(name: string, program: string, environment: Record<string, string>): Promise<{ driver: string; end: () => Promise<void> }> {
  const port = await freePort();
  const { end } = start(program, [`--port=${port}`], environment);
  const driver = `http://127.0.0.1:${port}`;
  try {
    await until(name, () => fetch(`${driver}/status`).then(() => true, () => undefined), COMMAND_MILLIS);
    return { driver, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Starts a browser by a WebDriver server. If that fails, ends the server. */
async function session(driver: string, capabilities: Parameters, end: () => Promise<void>): Promise<Driver> {
  try {
    const { sessionId } = (await ask('POST', `${driver}/session`, { capabilities: { alwaysMatch: capabilities } })) as { sessionId: string };
    const send = (command: keyof typeof commands, parameters: Parameters = {}) => {
      const [, method, path = ''] = commands[command];
      return ask(method, `${driver}/session/${sessionId}${path.replace('{id}', String(parameters.id))}`, parameters);
    };
    return { send, end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function launchFirefox(folder: string): Promise<Driver> {
  const preferences = {
    // a free port, which Firefox writes to a file in its profile
    'marionette.port': 0,
    'browser.shell.checkDefaultBrowser': false,
    'browser.startup.homepage_override.mstone': 'ignore',
    'datareporting.policy.dataSubmissionEnabled': false,
    'intl.accept_languages': 'en-GB',
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
  };
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
  await writeFile(join(folder, 'user.js'), lines.join('\n'));
  const parameters = ['--headless', '--marionette', '--no-remote', '--profile', folder, 'about:blank'];
  const browser = start(firefox!, parameters, { HOME: folder, MOZ_CRASHREPORTER_DISABLE: '1' });
  try {
    const port = await until(
      'Firefox',
      () => readFile(join(folder, 'MarionetteActivePort'), 'utf8').then(Number).then((port) => port || undefined, () => undefined),
      COMMAND_MILLIS,
    );
    const marionette = await Marionette.connect(port);
    await marionette.send('start', { pageLoadStrategy: 'normal' });
    const end = () => {
      marionette.close();
      return browser.end();
    };
    return { send: (command, parameters) => marionette.send(command, parameters), end };
  } catch (error) {
    await browser.end();
    throw error;
  }
}

/** A client of the protocol that geckodriver uses: JSON arrays, each preceded by its length in bytes and a colon. */
class Marionette {
  private received = Buffer.alloc(0);
  private asked = 0;
  private readonly waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();

  private constructor(private readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
      for (let colon; (colon = this.received.indexOf(':')) > 0; ) {
        const end = colon + 1 + Number(this.received.toString('latin1', 0, colon));
        if (this.received.length < end) return;
        const message: unknown = JSON.parse(this.received.toString('utf8', colon + 1, end));
        this.received = this.received.subarray(end);
        // the first message is a greeting, an object
        if (Array.isArray(message)) this.answer(message[1], message[2], message[3]);
      }
    });
    socket.on('error', () => {}).on('close', () => {
      for (const { reject } of this.waiting.values()) reject(new Error('Firefox has ended'));
    });
  }

  static async connect(port: number): Promise<Marionette> {
    const socket = connect(port, '127.0.0.1');
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Marionette(socket);
  }

  send(command: keyof typeof commands, parameters: Parameters = {}): Promise<unknown> {
    const id = ++this.asked;
    const bytes = Buffer.from(JSON.stringify([0, id, commands[command][0], parameters]));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`Firefox did not answer to ${command}`)), COMMAND_MILLIS);
      const done = <T>(tell: (it: T) => void) => (it: T) => {
        clearTimeout(late);
        this.waiting.delete(id);
        tell(it);
      };
      this.waiting.set(id, { resolve: done(resolve), reject: done(reject) });
      this.socket.write(`${bytes.length}:`);
      this.socket.write(bytes);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private answer(id: number, error: { error: string; message: string } | null, result: unknown): void {
    const one = this.waiting.get(id);
    if (error) return one?.reject(new Refused(error.error, error.message));
    one?.resolve(result && typeof result === 'object' && 'value' in result ? result.value : result);
  }
}

async function launchWebKit(folder: string): Promise<Driver> {
  const screen = start(webKit.display!, ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'], {});
  try {
    const number = await new Promise<string>((resolve, reject) => {
      screen.child.stdio[3]!.once('data', (line) => resolve(String(line).trim()));
      screen.child.once('exit', () => reject(new Error('Xvfb did not start')));
    });
    const { driver, end } = await startDriver('WebKitWebDriver', webKit.driver!, {
      DISPLAY: `:${number}`,
      HOME: folder,
      XDG_CACHE_HOME: folder,
      XDG_CONFIG_HOME: folder,
      XDG_DATA_HOME: folder,
      GDK_BACKEND: 'x11',
      LIBGL_ALWAYS_SOFTWARE: '1',
      // the sandbox needs rights that containers do not have; the browser loads only pages of Qchat
      WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1',
    });
    const options = { binary: webKit.browser, args: ['--automation'] };
    return await session(driver, { browserName: 'MiniBrowser', 'webkitgtk:browserOptions': options }, async () => {
      await end();
      await screen.end();
    });
  } catch (error) {
    await screen.end();
    throw error;
  }
}

/** Sends a command to a WebDriver server. Returns its result. */
async function ask(method: string, address: string, parameters: Parameters): Promise<unknown> {
  const body = method === 'POST' ? JSON.stringify(parameters) : undefined;
  const answer = await fetch(address, { method, body: body ?? null, signal: AbortSignal.timeout(COMMAND_MILLIS) });
  const { value } = (await answer.json()) as { value: unknown };
  if (answer.ok) return value;
  const { error, message } = value as { error: string; message: string };
  throw new Refused(error, message);
}

/** A browser with a new profile. */
export class EngineBrowser {
  private current: string | undefined;

  private constructor(
    private readonly driver: Driver,
    private readonly folder: string,
  ) {}

  static async launch(engine: Engine): Promise<EngineBrowser> {
    const folder = await mkdtemp(join(tmpdir(), `qchat-${engine.name}-`));
    try {
      return new EngineBrowser(await engine.launch(folder), folder);
    } catch (error) {
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      throw error;
    }
  }

  /** Returns the page in the first window. */
  async page(): Promise<EnginePage> {
    this.current = (await this.driver.send('window')) as string;
    return new EnginePage(this, this.current);
  }

  async windows(): Promise<string[]> {
    return (await this.driver.send('windows')) as string[];
  }

  /** Returns the pages in all windows. */
  async pages(): Promise<EnginePage[]> {
    return (await this.windows()).map((window) => new EnginePage(this, window));
  }

  /** Sends a command to a window. */
  async send(window: string, command: keyof typeof commands, parameters: Parameters = {}): Promise<unknown> {
    if (this.current !== window) await this.driver.send('switchTo', { handle: window });
    this.current = window;
    return this.driver.send(command, parameters);
  }

  async close(): Promise<void> {
    await this.driver.end();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** The selectors for the elements of each role. The accessible name of an element is computed by the engine. */
const selectors = {
  alert: '[role=alert]',
  button: 'button:not([role])',
  checkbox: 'input[type=checkbox]:not([role])',
  dialog: 'dialog, [role=dialog]',
  heading: 'h1',
  link: 'a[href]',
  list: 'ul, ol',
  listitem: 'li',
  log: '[role=log]',
  region: 'section[aria-label], section[aria-labelledby], [role=region]',
  searchbox: 'input[type=search]',
  status: '[role=status]',
  switch: '[role=switch]',
  textbox: 'textarea, input:not([type]), input[type=text]',
} as const;
export type Role = keyof typeof selectors;

/** The codes of special keys (WebDriver, section 17.4.2). */
const keys: Record<string, string> = { Enter: '\uE007', Escape: '\uE00C', Shift: '\uE008', Tab: '\uE004' };

/** A page in a window of a browser. */
export class EnginePage {
  constructor(
    readonly browser: EngineBrowser,
    readonly window: string,
  ) {}

  send(command: keyof typeof commands, parameters?: Parameters): Promise<unknown> {
    return this.browser.send(this.window, command, parameters);
  }

  async goto(url: string): Promise<void> {
    await this.send('navigate', { url });
  }

  async url(): Promise<string> {
    return (await this.send('address')) as string;
  }

  async goBack(): Promise<void> {
    await this.send('back');
  }

  async goForward(): Promise<void> {
    await this.send('forward');
  }

  async reload(): Promise<void> {
    await this.send('reload');
  }

  /** Runs a function in the page. Returns its result, once a promise is settled. Arguments and result are JSON, or elements; WebKit
   *  does not support elements nested in arguments. */
  async evaluate<A extends unknown[], R>(run: (...values: A) => R, ...values: A): Promise<Awaited<R>> {
    const script = `return Promise.resolve((${run})(...arguments)).then((value) => ({ value }))`;
    const answer = (await this.send('run', { script, args: values })) as { value: Awaited<R> } | null;
    // Firefox answers with null if the page is unloaded before the function has returned
    if (answer === null) throw new Refused(UNLOADED, 'the page went while a function ran in it');
    return answer.value;
  }

  /** Presses a key, such as `Enter` or `Shift+Enter`, in the focused element. */
  async press(key: string): Promise<void> {
    const values = key.split('+').map((name) => keys[name] ?? name);
    const down = values.map((value) => ({ type: 'keyDown', value }));
    const up = values.reverse().map((value) => ({ type: 'keyUp', value }));
    await this.send('act', { actions: [{ type: 'key', id: 'keyboard', actions: [...down, ...up] }] });
  }

  /** Resizes the window, in pixels. Its least width is 500 in Firefox and 447 in WebKit. */
  async resize(width: number, height: number): Promise<void> {
    await this.send('resize', { width, height });
  }

  /** Returns a screenshot, as a PNG. */
  async screenshot(): Promise<Buffer> {
    return Buffer.from((await this.send('screenshot')) as string, 'base64');
  }

  /** Does something that opens a window. Returns the page in that window. */
  async newWindow(open: () => Promise<void>): Promise<EnginePage> {
    const before = await this.browser.windows();
    await open();
    const window = await until('a new window', async () => (await this.browser.windows()).find((one) => !before.includes(one)));
    return new EnginePage(this.browser, window);
  }

  /** Returns the visible elements with this role and exactly this accessible name. */
  get(role: Role, name?: string | RegExp): Part {
    return new Part(this, { role, ...(name === undefined ? {} : { name }) });
  }
}

/** The options of an expectation: its message, and the same timeout as for actions. */
const said = (part: Part) => ({ message: `${part}`, timeout: TIMEOUT_MILLIS });

type Wanted = { role: Role; name?: string | RegExp; within?: Part; text?: string };
type Element = { [ELEMENT]: string };

/** A locator of visible elements in a page. It is evaluated anew each time, since pages change. */
export class Part {
  constructor(
    private readonly page: EnginePage,
    private readonly wanted: Wanted,
  ) {}

  /** Returns the visible elements within this one. */
  get(role: Role, name?: string | RegExp): Part {
    return new Part(this.page, { role, within: this, ...(name === undefined ? {} : { name }) });
  }

  /** Returns those that contain this text. */
  with(text: string): Part {
    return new Part(this.page, { ...this.wanted, text });
  }

  toString(): string {
    const { role, name, text, within } = this.wanted;
    return [role, name && `“${name}”`, text && `with “${text}”`, within && `in the ${within}`].filter(Boolean).join(' ');
  }

  /** Returns all matching elements that are visible now. */
  private async all(): Promise<Element[]> {
    const { role, name, text, within } = this.wanted;
    const around = within ? await within.all() : [null];
    const shown = await this.page.evaluate(
      (selector: string, text: string, ...around: (Element | null)[]) =>
        (around as unknown as (HTMLElement | null)[])
          .flatMap((one) => [...(one ?? document).querySelectorAll<HTMLElement>(selector)])
          .filter((one) => one.checkVisibility({ visibilityProperty: true }) && one.innerText.includes(text)) as unknown as Element[],
      selectors[role],
      text ?? '',
      ...around,
    );
    if (name === undefined) return shown;
    const named: Element[] = [];
    for (const one of shown) {
      const label = String(await this.page.send('label', { id: one[ELEMENT] })).trim();
      if (typeof name === 'string' ? label === name : name.test(label)) named.push(one);
    }
    return named;
  }

  /** Does something with the only matching element. Waits until there is exactly one, and until that works. */
  private async act<T>(act: (one: Element) => Promise<T>): Promise<T> {
    let why: unknown = 'there is none';
    const done = await until(`${this}`, async () => {
      try {
        const [one, another] = await this.all();
        why = another ? 'there are several' : 'there is none';
        return one && !another ? { value: await act(one) } : undefined;
      } catch (error) {
        if (!isPassing(error)) throw error;
        why = error;
        return undefined;
      }
    }).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : error} (${why})`);
    });
    return done.value;
  }

  async count(): Promise<number> {
    return (await this.lately(() => this.all()))?.length ?? -1;
  }

  /** Returns the texts of all matching elements. */
  async texts(): Promise<string[]> {
    const read = async () =>
      this.page.evaluate((...all: Element[]) => (all as unknown as HTMLElement[]).map((one) => one.innerText.trim()), ...(await this.all()));
    return (await this.lately(read)) ?? [];
  }

  async value(): Promise<string> {
    return this.evaluate((one) => (one as HTMLInputElement).value);
  }

  async click(): Promise<void> {
    await this.act((one) => this.page.send('click', { id: one[ELEMENT] }));
  }

  /** Types text after the present value. */
  async type(text: string): Promise<void> {
    await this.act((one) => this.page.send('type', { id: one[ELEMENT], text }));
  }

  /** Replaces the value by typing. */
  async fill(text: string): Promise<void> {
    await this.act((one) => this.page.send('clear', { id: one[ELEMENT] }));
    await this.type(text);
  }

  async evaluate<R>(run: (one: HTMLElement) => R): Promise<Awaited<R>> {
    return this.act((one) => this.page.evaluate(run as unknown as (one: Element) => R, one));
  }

  /** Expects one matching element, or the given number of them. */
  async isThere(times = 1): Promise<void> {
    await expect.poll(() => this.count(), said(this)).toBe(times);
  }

  /** Expects the text to contain this one. */
  async says(text: string): Promise<void> {
    await expect.poll(() => this.texts().then((texts) => texts.join('\n')), said(this)).toContain(text);
  }

  /** Expects this value. */
  async holds(value: string): Promise<void> {
    await expect.poll(() => this.value(), said(this)).toBe(value);
  }

  /** Reads something. Returns undefined if what is read disappeared meanwhile. */
  private async lately<T>(look: () => Promise<T>): Promise<T | undefined> {
    try {
      return await look();
    } catch (error) {
      if (!isPassing(error)) throw error;
      return undefined;
    }
  }
}

/** Returns whether the same command may succeed a moment later. */
function isPassing(error: unknown): boolean {
  const codes = ['element click intercepted', 'element not interactable', 'invalid element state', 'no such element', 'stale element reference', UNLOADED];
  return error instanceof Refused && codes.includes(error.code);
}
