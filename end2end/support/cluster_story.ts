// Fixtures for stories on several nodes with one NATS server. Users are at the first node, unless they are told to be elsewhere.

import type { Fixtures } from '@playwright/test';
import { Balancer } from './balancer.ts';
import { Nats, natsServer } from './nats.ts';
import { lastingPort } from './port.ts';
import { Server, type Settings } from './server.ts';
import { type Newcomer, type Person, expect, test as base } from './story.ts';
import { until } from './until.ts';

export { expect } from '@playwright/test';

/** Several nodes, their NATS server, and a balancer in front of them. */
export type Cluster = { nats: Nats; nodes: Server[]; balancer: Balancer };

type ClusterStory = {
  /** The number of nodes. */
  size: number;
  cluster: Cluster;
};

type Needed = { settings: Settings; server: Server };

/** The fixtures, which replace the server by the first node. */
export const fixtures: Fixtures<ClusterStory, object, Needed> = {
  size: [2, { option: true }],

  cluster: async ({ size, settings }, use, { skip }) => {
    skip(!natsServer, 'there is no nats-server 2.10 or newer: see `scripts/setup.sh nats`');
    const nats = await Nats.start();
    const own = { QCHAT_NATS_URL: nats.url, QCHAT_NATS_REPLICAS: '1', QCHAT_NATS_MAX_LOG: '64', ...settings };
    const nodes: Server[] = [];
    for (let number = 0; number < size; number += 1) nodes.push(await Server.start(own, await lastingPort()));
    for (const node of nodes) await node.isReady();
    const balancer = await Balancer.start(nodes);
    await use({ nats, nodes, balancer });
    await balancer.dispose();
    for (const node of nodes) await node.dispose();
    await nats.dispose();
  },

  server: async ({ cluster }, use) => {
    await use(cluster.nodes[0]!);
  },
};

export const test = base.extend<ClusterStory>(fixtures as Fixtures<ClusterStory, object, Needed & { person: Newcomer }>);

/** Waits until each node has applied what any of them has: they are some milliseconds apart, more on a busy machine. */
export async function areAlike({ nodes }: Cluster): Promise<void> {
  const reached = async ({ url }: Server) => Number(/^qchat_log_seq (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())![1]);
  const newest = Math.max(...(await Promise.all(nodes.map(reached))));
  for (const node of nodes) await until(node.url, async () => (await reached(node)) >= newest);
}

/** What a page showed: the states of its connection, each with how long it lasted, and how few members there ever were. */
export type Seen = { states: { state: string; millis: number }[]; fewest: number };

/** Writes down what a page shows from now on. Returns a function that reads it. */
export async function watch({ page, chat }: Person): Promise<() => Promise<Seen>> {
  const members = page.getByRole('list', { name: 'Members' });
  await expect(chat.connection).toBeVisible();
  const record = await members.evaluateHandle(
    (members, connection) => {
      const seen: Seen = { states: [], fewest: Infinity };
      let since = performance.now();
      const look = () => {
        const [now, last, state] = [performance.now(), seen.states.at(-1), connection!.textContent!.trim()];
        if (last) last.millis = now - since;
        if (last?.state !== state) {
          seen.states.push({ state, millis: 0 });
          since = now;
        }
        seen.fewest = Math.min(seen.fewest, members.children.length);
      };
      look();
      const change = { subtree: true, childList: true, characterData: true };
      const observer = new MutationObserver(look);
      for (const one of [members, connection!]) observer.observe(one, change);
      return { read: () => (look(), seen) };
    },
    await chat.connection.elementHandle(),
  );
  return () => record.evaluate((record) => record.read());
}
