// Fixtures for stories with a proxy in front of the server.

import { Nginx, type Way, nginx } from './nginx.ts';
import type { Settings } from './server.ts';
import { test as base } from './story.ts';

/** The settings of a server behind a proxy. */
export const inFrontOf: Settings = { QCHAT_TRUSTED_PROXIES: '127.0.0.1' };

type ProxyStory = {
  /** Starts a proxy in front of the server. */
  behind: (way?: Way) => Promise<Nginx>;
};

export const test = base.extend<ProxyStory>({
  settings: [inFrontOf, { scope: 'test' }],

  behind: [
    async ({ server }, use, { skip }) => {
      skip(!nginx, 'nginx is not on this machine: see `scripts/setup.sh browser`');
      const proxies: Nginx[] = [];
      await use(async (way) => {
        const proxy = await Nginx.start(server.url, way);
        proxies.push(proxy);
        return proxy;
      });
      for (const proxy of proxies) await proxy.dispose();
    },
    // set up before the users, so that the proxy is stopped after they have left
    { auto: true },
  ],
});

/** Starts a chat by a form as a new user, whose address the proxy takes from `x-from`. Returns the status of the answer. */
export async function startAsNewcomer(url: string, from: string): Promise<number> {
  const page = await fetch(url, { headers: { 'x-from': from } });
  const cookie = page.headers.get('set-cookie')!.split(';')[0]!;
  const headers = { 'x-from': from, origin: new URL(url).origin, cookie, accept: 'text/html' };
  const body = new URLSearchParams({ nickname: 'Ana', title: 'Tea' });
  const answer = await fetch(`${url}/api/start_chat`, { method: 'POST', headers, body, redirect: 'manual' });
  return answer.status;
}
