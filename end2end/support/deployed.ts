// The proxies of deploy/ in front of a Qchat, with TLS and HTTP/2. Their configurations are used as they are, apart from ports,
// addresses and the certificate.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nginx } from './nginx.ts';
import { onPath } from './path.ts';
import { answers, freePort } from './port.ts';

const openssl = onPath('openssl');

/** The programs that are on this machine; undefined for those that are not. */
export const programs = { nginx: openssl && nginx, caddy: openssl && onPath('caddy') };

/** A running proxy. */
export class Deployed {
  private constructor(
    private readonly process: ChildProcess,
    private readonly folder: string,
    readonly url: string,
  ) {}

  /** Starts a proxy in front of the Qchat at `server`. */
  static async start(name: keyof typeof programs, server: string): Promise<Deployed> {
    const folder = await mkdtemp(join(tmpdir(), 'qchat-deployed-'));
    const [port, plain] = [await freePort(), await freePort()];
    const [certificate, key] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const keys = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
    execFileSync(openssl!, ['req', '-x509', ...keys, '-out', certificate, '-days', '2', ...subject], { stdio: 'ignore' });
    const files = { folder, port, plain, certificate, key, node: new URL(server).host };
    const child = name === 'nginx' ? await startNginx(files) : await startCaddy(files);
    let said = '';
    child.stderr!.on('data', (bytes: Buffer) => (said += bytes.toString()));
    let end: string | undefined;
    child.once('error', (error) => (end = error.message)).once('exit', (code) => (end ??= `code ${code}`));
    while (!(await answers(port))) {
      if (end !== undefined) throw new Error(`${name} did not start: ${end}\n${said}`);
    }
    return new Deployed(child, folder, `https://localhost:${port}`);
  }

  async dispose(): Promise<void> {
    const gone = new Promise((resolve) => this.process.once('exit', resolve));
    if (this.process.exitCode === null && this.process.kill('SIGTERM')) await gone;
    await rm(this.folder, { recursive: true });
  }
}

type Files = { folder: string; port: number; plain: number; certificate: string; key: string; node: string };

/** Replaces parts of a configuration, each of which has to be there. */
async function configuration(file: string, parts: [string, string][]): Promise<string> {
  let text = await readFile(new URL(`../../deploy/${file}`, import.meta.url), 'utf8');
  for (const [part, by] of parts) {
    if (!text.includes(part)) throw new Error(`deploy/${file} has no ${part}`);
    text = text.replaceAll(part, () => by);
  }
  return text;
}

async function startNginx({ folder, port, plain, certificate, key, node }: Files): Promise<ChildProcess> {
  const site = await configuration('nginx.conf', [
    ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
    ['listen 80;', `listen 127.0.0.1:${plain};`],
    ['/etc/ssl/chat.example.org.pem', certificate],
    ['/etc/ssl/chat.example.org.key', key],
    ['server 127.0.0.1:3000 ', `server ${node} `],
  ]);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${folder}/${what};`);
  const around = `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events { worker_connections 256; }
http { access_log off; ${temporary.join(' ')}
${site}
}
`;
  await writeFile(join(folder, 'nginx.conf'), around);
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'errors')];
  return spawn(nginx!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

async function startCaddy({ folder, port, certificate, key, node }: Files): Promise<ChildProcess> {
  const whole = '{$QCHAT_SITE:chat.example.org} {';
  const site = await configuration('Caddyfile', [
    [whole, `{\n\tadmin off\n\tauto_https off\n}\n${whole}\n\ttls ${certificate} ${key}`],
  ]);
  await writeFile(join(folder, 'Caddyfile'), site);
  const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const settings = { QCHAT_SITE: `https://localhost:${port}`, QCHAT_NODES: node };
  const args = ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile'];
  return spawn(programs.caddy!, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...env, ...settings } });
}
