// Qchat behind the proxies of deploy/, each as it is there: with TLS, HTTP/2 and WebSockets.

import { Deployed, programs } from '../support/deployed.ts';
import { inFrontOf } from '../support/proxy_story.ts';
import { expect, test as base } from '../support/story.ts';

type DeployStory = {
  /** Starts a proxy in front of the server. */
  deploy: (name: keyof typeof programs) => Promise<Deployed>;
};

const test = base.extend<DeployStory>({
  deploy: [
    async ({ server }, use) => {
      const proxies: Deployed[] = [];
      await use(async (name) => {
        const proxy = await Deployed.start(name, server.url);
        proxies.push(proxy);
        return proxy;
      });
      for (const proxy of proxies) await proxy.dispose();
    },
    // set up before the users, so that the proxy is stopped after they have left
    { auto: true },
  ],
});

test.use({ settings: inFrontOf });

for (const name of ['nginx', 'caddy'] as const) {
  test(`two people talk behind ${name}, as it is deployed`, async ({ server, person, deploy }) => {
    test.skip(!programs[name], `${name} or openssl is not on this machine`);
    const proxy = await deploy(name);
    const [ana, bea] = [await person({ ignoreHTTPSErrors: true }), await person({ ignoreHTTPSErrors: true })];
    const sockets: string[] = [];
    bea.page.on('websocket', (socket) => sockets.push(socket.url()));
    await ana.page.goto(`${proxy.url}/`);
    await ana.home.startChat({ title: 'Tea at five' });
    await ana.chat.isOpen();
    await bea.open(ana.page.url());
    await ana.chat.say('Is the kettle on?');
    await expect(bea.chat.message('Is the kettle on?')).toBeVisible();
    await bea.chat.say('It is.');
    await expect(ana.chat.message('It is.')).toBeVisible();
    expect(sockets).toEqual([`${proxy.url.replace('https', 'wss')}/live`]);
    const protocol = () => (performance.getEntriesByType('navigation')[0] as PerformanceNavigationTiming).nextHopProtocol;
    expect(await bea.page.evaluate(protocol)).toBe('h2');

    const { request } = bea.page.context();
    const headers = (await request.get(`${proxy.url}/`)).headers();
    expect(headers['strict-transport-security'], 'Qchat knows of the TLS').toMatch(/^max-age=/);
    expect(headers['x-request-id'], 'the proxy gives the id').toMatch(name === 'nginx' ? /^[0-9a-f]{32}$/ : /^[0-9a-f-]{36}$/);
    expect((await request.get(`${proxy.url}/metrics`)).status(), 'for the monitoring alone').toBe(404);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(200);
  });
}
