// A line between a browser and a server on which an answer comes as far as some word, and the rest of it later.

import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

/** Where a browser finds the server at the end of the line, what lets the rest come, and what cuts it. */
export type SlowLine = { url: string; letRestCome: () => void; cut: () => void };

/** A line to `url` that keeps back what follows the first `word` in any answer. */
export async function slowLine(url: string, word: string): Promise<SlowLine> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let letRestCome!: () => void;
  const rest = new Promise<void>((resolve) => (letRestCome = resolve));
  const listener = createServer((browser) => {
    const server = connect(Number(port), hostname);
    for (const [one, other] of [[browser, server], [server, browser]] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
    // words are found in what is not compressed
    browser.on('data', (bytes: Buffer) => server.write(bytes.toString('latin1').replace(/^accept-encoding: .*\r\n/im, ''), 'latin1'));
    browser.on('end', () => server.end());
    let seen = '';
    server.on('data', (bytes: Buffer) => {
      const before = seen.length;
      seen += bytes.toString('latin1');
      const found = seen.indexOf(word);
      if (found < 0) return void browser.write(bytes);
      const end = Math.max(0, found - before);
      server.removeAllListeners('data').pause();
      browser.write(bytes.subarray(0, end));
      void rest.then(() => {
        browser.write(bytes.subarray(end));
        server.pipe(browser);
      });
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, hostname, resolve));
  const cut = () => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  };
  return { url: `http://${hostname}:${(listener.address() as AddressInfo).port}`, letRestCome, cut };
}
