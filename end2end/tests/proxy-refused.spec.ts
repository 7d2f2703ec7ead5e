// Behind a proxy that refuses WebSockets, pages say so and poll. Also: `Host` headers and forwarded addresses in other forms.

import { type Way } from '../support/nginx.ts';
import { inFrontOf, startAsNewcomer, test } from '../support/proxy_story.ts';
import { expect } from '../support/story.ts';
import { freePort } from '../support/port.ts';

// Browsers log an error when a handshake fails.
test.use({ expected: { words: [/WebSocket connection to .* failed/, /Failed to load resource/] } });

const refusals: Record<string, () => Promise<Way>> = {
  'the host is changed': async () => ({ host: '$proxy_host' }),
  'nothing is upgraded': async () => ({ live: 'return 400;' }),
  'it is not found': async () => ({ live: 'return 404;' }),
  'no server is behind it': async () => ({ live: `proxy_pass http://127.0.0.1:${await freePort()};` }),
};

for (const [why, way] of Object.entries(refusals)) {
  test(`where WebSockets are refused, two people meet and talk: ${why}`, async ({ person, behind }) => {
    const { url } = await behind(await way());
    const [ana, bea] = [await person(), await person()];
    await ana.page.goto(url);
    const isSaid = (text: RegExp) => expect(ana.page.getByRole('status', { name: 'Connection' })).toContainText(text, { timeout: 20_000 });
    await isSaid(/live/i);
    await ana.home.startChat({ nickname: 'Ana', title: 'Tea' });
    await expect(ana.chat.heading).toHaveText('Tea');
    await bea.page.goto(ana.page.url());
    await isSaid(/live/i);
    await ana.chat.composer.fill('Does anybody see this?');
    await ana.chat.composer.press('Enter');
    // The message appears without a reload.
    await expect(bea.chat.message('Does anybody see this?')).toBeVisible({ timeout: 20_000 });
    await bea.chat.composer.fill('half a thought');
    await ana.chat.composer.fill('I hope so');
    await ana.chat.send.click();
    await expect(bea.chat.message('I hope so')).toBeVisible({ timeout: 20_000 });
    await expect(bea.chat.composer).toHaveValue('half a thought');
    expect(await bea.chat.texts()).toEqual(['Does anybody see this?', 'I hope so']);
    for (const one of [ana, bea]) await expect(one.chat.log.getByText(/Sending|Not sent/)).toHaveCount(0);
    await ana.chat.goHome.click();
    await expect(ana.home.listing('Tea')).toBeVisible();
  });
}

test.describe('hosts', () => {
  for (const host of ['LOCALHOST:$server_port', 'localhost:$server_port']) {
    test(`are compared as origins are: ${host}`, async ({ person, behind }) => {
      const { url } = await behind({ host });
      const ana = await person();
      await ana.page.goto(url.replace('127.0.0.1', 'localhost'));
      await ana.home.isConnected();
    });
  }
});

test.describe('with a low rate limit for starting chats', () => {
  test.use({ settings: { ...inFrontOf, QCHAT_CHAT_RATE: '1/h' } });
  for (const [from, other] of [['203.0.113.7:$PORT', '203.0.113.8:$PORT'], ['[2001:db8::1]:$PORT', '[2001:db8:1::1]:$PORT']] as const) {
    test(`an address is the same with any port: ${from}`, async ({ behind }) => {
      const { url } = await behind({ forwardedFor: '$http_x_from' });
      let port = 50_000;
      const start = (address: string) => startAsNewcomer(url, address.replace('$PORT', `${port++}`));
      const first = await start(from);
      for (let times = 1; times < 20; times++) expect(await start(from)).toBe(first);
      expect(await start(from)).toBe(429);
      expect(await start(other)).toBe(first);
    });
  }
});
