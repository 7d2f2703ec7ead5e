// A Qchat server for a single test: the release build, with a temporary data folder.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { until } from './until.ts';

/** Settings, by their environment variables. */
export type Settings = Record<string, string>;

const program = new URL('../../target/release/qchat', import.meta.url).pathname;

export class Server {
  private constructor(
    private readonly folder: string,
    private process: ChildProcess,
    readonly url: string,
    private readonly settings: Settings,
  ) {}

  /** Starts on a free port, or on the given one. */
  static async start(settings: Settings = {}, port = 0): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), 'qchat-'));
    const { process, url } = await launch(folder, `127.0.0.1:${port}`, settings);
    return new Server(folder, process, url, settings);
  }

  /** Waits until messages can be stored. A node of a cluster listens before that. */
  async isReady(): Promise<void> {
    await until(this.url, async () => (await fetch(`${this.url}/readyz`)).ok);
  }

  /** Kills the server, as by `kill -9`. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Stops the server in order, as a service manager does. */
  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const gone = once(this.process, 'exit');
    this.process.kill(signal);
    await gone;
  }

  /** Starts the server again at the same address, with the same data or with an empty database. */
  async startAgain({ empty = false } = {}): Promise<void> {
    if (empty) await Promise.all(['redb', 'journal'].map((file) => rm(join(this.folder, `qchat.${file}`))));
    const { process } = await launch(this.folder, new URL(this.url).host, this.settings);
    this.process = process;
  }

  /** Stops the process, so that it answers nothing while its sockets stay open. */
  freeze(): void {
    this.process.kill('SIGSTOP');
  }

  thaw(): void {
    this.process.kill('SIGCONT');
  }

  async dispose(): Promise<void> {
    this.thaw();
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true });
  }
}

async function launch(
  folder: string,
  address: string,
  settings: Settings,
): Promise<{ process: ChildProcess; url: string }> {
  const child = spawn(program, ['--data-dir', folder, '--site-addr', address], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, QCHAT_LOG: 'warn', ...settings },
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /^Qchat is at (http:\S+)$/.exec(line)?.[1];
    if (url) return { process: child, url };
  }
  throw new Error(`${program} did not start: build it by \`make build\``);
}
