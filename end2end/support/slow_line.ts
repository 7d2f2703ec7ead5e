// A connection between a browser and a server that delivers an answer up to a certain word, and the rest of it later.

import { type AddressInfo, type Socket, connect, createServer } from 'node:net';

/** The address for the browser, a function that delivers the rest, and one that cuts the connection. */
export type SlowLine = { url: string; deliverRest: () => void; cut: () => void };

/** Opens a connection to `url` that holds back an answer from the first `word` on. */
export async function slowLine(url: string, word: string): Promise<SlowLine> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let deliverRest!: () => void;
  const rest = new Promise<void>((resolve) => (deliverRest = resolve));
  const listener = createServer((browser) => {
    const server = connect(Number(port), hostname);
    for (const [one, other] of [[browser, server], [server, browser]] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
    // the answer must not be compressed, so that the word can be found
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
  return { url: `http://${hostname}:${(listener.address() as AddressInfo).port}`, deliverRest, cut };
}
