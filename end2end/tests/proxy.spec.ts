// Qchat behind a proxy that is configured as in docs/operations.md, and behind variants of it.

import { type Person, expect } from '../support/story.ts';
import { inFrontOf, startAsNewcomer, test } from '../support/proxy_story.ts';

/** Starts a chat through the proxy. Returns its address. */
async function startChat(one: Person, url: string, title: string): Promise<string> {
  await one.page.goto(url);
  await one.home.startChat({ title });
  await one.chat.isOpen();
  return one.page.url();
}

test('as documented, two people talk, and stay connected while nothing is said', async ({ person, behind }) => {
  const { url } = await behind();
  const [ana, bea, cy] = [await person(), await person(), await person()];
  const lines: string[] = [];
  for (const one of [ana, bea, cy]) one.page.on('websocket', (line) => lines.push(line.url()));
  const link = await startChat(ana, url, 'Tea at five');
  expect(new URL(link).origin).toBe(url);
  await bea.open(link);
  await cy.page.goto(url);
  await cy.home.isConnected();
  const began = lines.length;
  // Longer than the idle timeout of the proxy.
  await ana.page.waitForTimeout(32_000);
  expect(lines, 'nobody had to come back').toHaveLength(began);
  await ana.chat.say('Are you still there?');
  await expect(bea.chat.message('Are you still there?')).toBeVisible();
  await expect(cy.home.listing('Tea at five')).toContainText('last message just now');
});

test.describe('where the proxy says that there is TLS', () => {
  test('cookies are for TLS alone, and browsers are told to keep to it', async ({ behind }) => {
    const { url } = await behind({ proto: 'https' });
    const answer = await fetch(url);
    expect(answer.headers.get('set-cookie')).toMatch(/; Secure/);
    expect(answer.headers.get('strict-transport-security')).toMatch(/^max-age=/);
    const plain = await fetch((await behind()).url);
    expect(plain.headers.get('set-cookie')).not.toMatch(/; Secure/);
    expect(plain.headers.get('strict-transport-security')).toBeNull();
  });
});

test.describe('with a low rate limit for starting chats', () => {
  test.use({ settings: { ...inFrontOf, QCHAT_CHAT_RATE: '1/h' } });
  test('users who share an address share its limit, and others do not', async ({ behind }) => {
    const { url } = await behind({ forwardedFor: '$http_x_from' });
    const start = (from: string) => startAsNewcomer(url, from);
    const first = await start('203.0.113.7');
    for (let times = 1; times < 20; times++) expect(await start('203.0.113.7')).toBe(first);
    expect(await start('203.0.113.7')).toBe(429);
    expect(await start('203.0.113.8')).toBe(first);
  });
});
