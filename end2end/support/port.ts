import { type AddressInfo, connect, createServer } from 'node:net';

/** Returns a free port, for programs that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  return (await bound(0))!;
}

/** Returns a free port that stays free while its program is away: it is below those that the system gives to connections. */
export async function lastingPort(): Promise<number> {
  for (;;) {
    const port = await bound(12_000 + Math.floor(Math.random() * 20_000));
    if (port !== undefined) return port;
  }
}

/** Returns whether the port accepts connections; if not, after a short wait. */
export async function answers(port: number): Promise<boolean> {
  const does = await new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
  if (!does) await new Promise((resolve) => setTimeout(resolve, 20));
  return does;
}

/** Listens on a port for a moment; 0 is any. Returns the port; undefined if it is taken. */
async function bound(wanted: number): Promise<number | undefined> {
  const listener = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    listener.once('error', () => resolve(false)).listen(wanted, '127.0.0.1', () => resolve(true));
  });
  if (!isFree) return undefined;
  const { port } = listener.address() as AddressInfo;
  await new Promise((resolve) => listener.close(resolve));
  return port;
}
