// A load balancer without sticky sessions: each request goes to the next node, and if that one does not take it, to the one after
// it, as docs/operations.md asks for.

import { type IncomingMessage, type ServerResponse, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Place } from './story.ts';

/** The statuses of a node that cannot serve. */
const ELSEWHERE = [502, 503, 504];

/** The answer of a node: a response, or a socket that has switched to another protocol. */
type Answer = { response: IncomingMessage; socket?: Duplex };

export class Balancer {
  private turn = 0;
  private readonly sockets = new Set<Duplex>();
  private readonly server = createServer((asked, answer) => void this.answer(asked, answer));
  /** The node that has taken the newest WebSocket. */
  newest: Place | undefined;

  private constructor(private readonly nodes: readonly Place[]) {
    this.server.on('upgrade', (asked, browser) => void this.upgrade(asked, browser));
  }

  /** Starts one in front of these nodes, on a free port. */
  static async start(nodes: readonly Place[]): Promise<Balancer> {
    const balancer = new Balancer(nodes);
    await new Promise<void>((resolve) => balancer.server.listen(0, '127.0.0.1', resolve));
    return balancer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async dispose(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const body: Buffer[] = [];
    try {
      for await (const part of asked) body.push(part as Buffer);
      const { response } = await this.ask(asked, Buffer.concat(body));
      answer.writeHead(response.statusCode!, response.rawHeaders);
      response.on('error', () => answer.destroy()).pipe(answer);
    } catch {
      // no node has answered, or the browser has gone
      if (answer.writable) answer.writeHead(502).end();
    }
  }

  private async upgrade(asked: IncomingMessage, browser: Duplex): Promise<void> {
    this.sockets.add(browser);
    browser.on('error', () => browser.destroy()).on('close', () => this.sockets.delete(browser));
    const { response, socket } = await this.ask(asked, Buffer.alloc(0)).catch(() => ({ response: undefined, socket: undefined }));
    if (!response || !socket) {
      response?.destroy();
      browser.end(`HTTP/1.1 ${response?.statusCode ?? 502} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      return;
    }
    const headers = [];
    for (let place = 0; place < response.rawHeaders.length; place += 2) headers.push(response.rawHeaders.slice(place, place + 2).join(': '));
    browser.write(['HTTP/1.1 101 Switching Protocols', ...headers, '', ''].join('\r\n'));
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => this.sockets.delete(socket));
    socket.on('close', () => browser.destroy()).pipe(browser);
    browser.on('close', () => socket.destroy()).pipe(socket);
  }

  /** Asks one node after the other. Returns the first answer of one that can serve, or else the last one. */
  private async ask(asked: IncomingMessage, body: Buffer): Promise<Answer> {
    const first = this.turn++;
    for (let tried = 1; ; tried += 1) {
      const node = this.nodes[(first + tried) % this.nodes.length]!;
      const isLast = tried === this.nodes.length;
      try {
        const answer = await askOne(node, asked, body);
        if (answer.socket) this.newest = node;
        if (isLast || !ELSEWHERE.includes(answer.response.statusCode!)) return answer;
        answer.response.resume();
      } catch (error) {
        // A form that may have been taken is not sent twice.
        const isRefused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
        if (isLast || (!isRefused && asked.method === 'POST')) throw error;
      }
    }
  }
}

async function askOne(node: Place, asked: IncomingMessage, body: Buffer): Promise<Answer> {
  const { hostname, port } = new URL(node.url);
  const { method, url: path, headers } = asked;
  return new Promise((resolve, reject) => {
    request({ hostname, port, method, path, headers, agent: false })
      .on('response', (response) => resolve({ response }))
      .on('upgrade', (response, socket, head) => {
        if (head.length > 0) socket.unshift(head);
        resolve({ response, socket });
      })
      .on('error', reject)
      .end(body);
  });
}
