import { type AddressInfo, createServer } from 'node:net';

/** A port of this machine that is free now, for programs that cannot take a free one themselves. */
export async function freePort(): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  await new Promise((resolve) => listener.close(resolve));
  return port;
}
