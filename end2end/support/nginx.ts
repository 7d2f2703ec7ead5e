// An nginx in front of a Qchat: a single process that needs no privileges and writes only to a temporary folder.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstOf, onPath } from './path.ts';
import { answers, freePort } from './port.ts';

/** The path of nginx; undefined if it is not installed: see `scripts/setup.sh browser`. */
export const nginx = onPath('nginx') ?? firstOf([new URL('../../target/nginx/usr/sbin/nginx', import.meta.url).pathname]);

/** Differences from the configuration in docs/operations.md. */
export type Way = {
  /** The path under which Qchat is served. */
  path?: string;
  /** The value of `Host`. */
  host?: string;
  /** The value of `X-Forwarded-For`. */
  forwardedFor?: string;
  /** The value of `X-Forwarded-Proto`. */
  proto?: string;
  /** The configuration of `/live`. */
  live?: string;
};

export class Nginx {
  private constructor(
    private readonly process: ChildProcess,
    private readonly folder: string,
    readonly url: string,
  ) {}

  /** Starts an nginx in front of the Qchat at `url`. */
  static async start(url: string, way: Way = {}): Promise<Nginx> {
    const folder = await mkdtemp(join(tmpdir(), 'qchat-nginx-'));
    const port = await freePort();
    await writeFile(join(folder, 'nginx.conf'), configuration(folder, port, url, way));
    const errors = join(folder, 'errors');
    const child = spawn(nginx!, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', errors], { stdio: 'ignore' });
    const proxy = new Nginx(child, folder, `http://127.0.0.1:${port}${way.path ?? ''}`);
    let end: string | undefined;
    child.once('error', (error) => (end = error.message)).once('exit', (code) => (end ??= `code ${code}`));
    while (!(await answers(port))) {
      if (end === undefined) continue;
      const why = `nginx did not start: ${end}\n${await readFile(errors, 'utf8').catch(() => '')}`;
      await rm(folder, { recursive: true });
      throw new Error(why);
    }
    return proxy;
  }

  async dispose(): Promise<void> {
    const gone = new Promise((resolve) => this.process.once('exit', resolve));
    if (this.process.exitCode === null && this.process.kill('SIGTERM')) await gone;
    await rm(this.folder, { recursive: true });
  }
}

function configuration(folder: string, port: number, url: string, way: Way): string {
  const path = way.path ?? '';
  // under a path, nginx removes that path from the request
  const pass = (target: string) => `
      proxy_pass ${url}${path && target};
      proxy_http_version 1.1;
      proxy_set_header Host ${way.host ?? '$http_host'};
      proxy_set_header X-Forwarded-For ${way.forwardedFor ?? '$proxy_add_x_forwarded_for'};
      proxy_set_header X-Forwarded-Proto ${way.proto ?? '$scheme'};`;
  const upgrade = `
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 30s;`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${folder}/${what};`);
  return `
daemon off;
master_process off;
pid ${folder}/pid;
events { worker_connections 256; }
http {
  access_log off;
  ${temporary.join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    location ${path}/ {${pass('/')}
    }
    location = ${path}/live {${way.live ?? pass('/live') + upgrade}
    }
  }
}
`;
}
