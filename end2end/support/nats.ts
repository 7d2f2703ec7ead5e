// A NATS server with JetStream, on a free port and with a temporary folder.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstOf, onPath } from './path.ts';
import { lastingPort } from './port.ts';
import { until } from './until.ts';

/** The path of nats-server, where `scripts/setup.sh nats` puts it; undefined if there is none that is new enough. */
export const natsServer = [onPath('nats-server'), firstOf([new URL('../../target/tools/nats-server', import.meta.url).pathname])].find(isNew);

/** Returns whether it is 2.10 or newer. */
function isNew(program: string | undefined): boolean {
  if (program === undefined) return false;
  const [major, minor] = /v(\d+)\.(\d+)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))!.slice(1).map(Number);
  return major! > 2 || (major === 2 && minor! >= 10);
}

export class Nats {
  private constructor(
    private readonly folder: string,
    private process: ChildProcess,
    private readonly monitor: number,
    readonly url: string,
  ) {}

  static async start(): Promise<Nats> {
    const folder = await mkdtemp(join(tmpdir(), 'qchat-nats-'));
    const [port, monitor] = [await lastingPort(), await lastingPort()];
    await writeFile(join(folder, 'nats.conf'), configuration(folder, port, monitor));
    const nats = new Nats(folder, launch(folder), monitor, `nats://127.0.0.1:${port}`);
    await nats.isReady();
    return nats;
  }

  /** Kills the server, as by `kill -9`. */
  async kill(): Promise<void> {
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }

  /** Starts the server again at the same address, with what it has stored. */
  async startAgain(): Promise<void> {
    this.process = launch(this.folder);
    await this.isReady();
  }

  async dispose(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true });
  }

  private async isReady(): Promise<void> {
    await until('nats-server', async () => {
      if (this.process.exitCode !== null) throw new Error(await readFile(join(this.folder, 'log'), 'utf8'));
      return (await fetch(`http://127.0.0.1:${this.monitor}/healthz`)).ok;
    });
  }
}

function launch(folder: string): ChildProcess {
  return spawn(natsServer!, ['--config', join(folder, 'nats.conf'), '--log', join(folder, 'log')], { stdio: 'ignore' });
}

function configuration(folder: string, port: number, monitor: number): string {
  return `
listen: "127.0.0.1:${port}"
http: "127.0.0.1:${monitor}"
jetstream { store_dir: "${folder}", sync_interval: always, max_memory_store: 64MB, max_file_store: 1GB }
`;
}
