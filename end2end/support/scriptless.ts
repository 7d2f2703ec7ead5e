// A network that loads no scripts: a proxy that answers requests for scripts with 404, and forwards everything else.

import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The paths that are answered with 404. */
const SCRIPTS = /\.(js|wasm)(\?|$)/;

/** Starts such a proxy in front of the Qchat at `url`. */
export async function withoutScripts(url: string): Promise<{ url: string } & AsyncDisposable> {
  const target = new URL(url);
  const proxy = createServer((asked, answer) => {
    if (SCRIPTS.test(asked.url ?? '')) return void answer.writeHead(404).end();
    const { method, headers, url: path } = asked;
    const passed = request({ host: target.hostname, port: target.port, method, path, headers }, (got) => {
      answer.writeHead(got.statusCode!, got.headers);
      got.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
