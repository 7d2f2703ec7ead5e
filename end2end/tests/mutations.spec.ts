// Pages changed by translators, writing assistants, password managers and content filters, before or after hydration. They keep
// working, and text that is being typed is kept.

import type { Page } from '@playwright/test';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

type Moment = 'before' | 'after';
type Hand = ReturnType<typeof hand>;
type Change = (hand: Hand) => void;

/** The helpers that changes use. They run in the page. */
const hand = () => ({
  /** Returns the text nodes that are shown. */
  texts(): Text[] {
    const walker = document.createTreeWalker(document.body ?? document, NodeFilter.SHOW_TEXT);
    const texts: Text[] = [];
    while (walker.nextNode()) {
      const text = walker.currentNode as Text;
      if (text.data.trim() && !text.parentElement?.closest('head, script, noscript, style, textarea')) texts.push(text);
    }
    return texts;
  },
  /** Returns the text fields. */
  fields: () => document.querySelectorAll<HTMLElement>('textarea, input:not([type=hidden], [type=checkbox])'),
  /** Creates an element with this text. */
  made: (text = '') => Object.assign(document.createElement('x-helper'), { textContent: text }),
  /** Runs a function now, and again after each change of the document. */
  everOn(act: () => void) {
    const observer = new MutationObserver(look);
    function look() {
      observer.disconnect();
      act();
      observer.observe(document, { subtree: true, childList: true, characterData: true });
    }
    look();
  },
});

const translate: Change = ({ texts }) => {
  for (const text of texts()) {
    if (text.parentElement!.localName === 'font') continue;
    const [outer, inner] = [document.createElement('font'), document.createElement('font')];
    inner.append(`«${text.data.trim()}»`);
    outer.append(inner);
    text.replaceWith(outer);
  }
};

/** The changes that are made once. */
const changes: Record<string, Change> = {
  'an element comes first in the body': ({ made }) => document.body.prepend(made('Translated')),
  'an element comes first in what is main': ({ made }) => document.querySelector('main')!.prepend(made('Look out')),
  'each field has an icon after it': ({ fields, made }) => fields().forEach((field) => field.after(made('*'))),
  'each field has an element around it': ({ fields, made }) => {
    for (const field of fields()) {
      const around = made();
      field.replaceWith(around);
      around.append(field);
    }
  },
  'each field has a host of shadows before and after it': ({ fields, made }) => {
    for (const field of fields()) {
      const hosts = [made(), made()] as const;
      for (const host of hosts) host.attachShadow({ mode: 'open' }).append(made('*'));
      field.before(hosts[0]);
      field.after(hosts[1]);
    }
  },
  'texts are translated, each in two elements': translate,
  'texts are translated where they stand, and run from right to left': ({ texts }) => {
    Object.assign(document.documentElement, { lang: 'ar', dir: 'rtl', className: 'translated-rtl' });
    for (const text of texts()) text.data = `«${text.data.trim()}»`;
  },
  'comments are gone': () => {
    const walker = document.createTreeWalker(document, NodeFilter.SHOW_COMMENT);
    const comments: Comment[] = [];
    while (walker.nextNode()) comments.push(walker.currentNode as Comment);
    for (const comment of comments) comment.remove();
  },
  'texts are cut in two': ({ texts }) => {
    for (const text of texts()) text.splitText(Math.floor(text.length / 2));
  },
  'texts side by side are one': () => document.body.normalize(),
  'white space is gone': () => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const blanks: Text[] = [];
    while (walker.nextNode()) {
      const text = walker.currentNode as Text;
      if (!text.data.trim() && text.parentElement!.localName !== 'textarea') blanks.push(text);
    }
    for (const blank of blanks) blank.remove();
  },
  'every element has one more attribute and one more class': () => {
    for (const element of document.querySelectorAll('*')) {
      element.setAttribute('data-helper', 'seen');
      element.classList.add('helped');
    }
  },
  'a filter takes out icons and hints, and hides what it takes for a cookie notice': () => {
    for (const element of document.querySelectorAll('svg, noscript, [aria-label=Link], .alone, #private-hint')) element.remove();
    for (const element of document.querySelectorAll<HTMLElement>('.terms, .notice')) element.style.setProperty('display', 'none', 'important');
  },
  'elements come last in the body and after it': ({ made }) => {
    const overlay = made();
    overlay.attachShadow({ mode: 'closed' }).append(made('?'));
    overlay.style.cssText = 'position: fixed; inset: auto 0 0 auto; pointer-events: none';
    document.body.append(overlay);
    document.documentElement.append(made());
  },
};

/** The changes that are repeated for new content, from the start of the page or from its hydration. */
const lastingChanges: Record<string, Change> = {
  'whatever is said is translated as it comes': translate,
  'an element is put into whatever comes': ({ made }) => {
    for (const element of document.querySelectorAll('body, main, form, li, [role=status]')) {
      if (element.firstElementChild?.localName !== 'x-helper') element.prepend(made());
    }
  },
};

/** Opens a page, changes it before or after hydration, and starts typing. */
async function openChanged(page: Page, address: string, kind: string, moment: Moment, write: () => Promise<void>): Promise<void> {
  const lasts = kind in lastingChanges;
  const change = lasts ? `{ const hand = (${hand})(); hand.everOn(() => (${lastingChanges[kind]})(hand)); }` : `(${changes[kind]})((${hand})())`;
  const connection = page.getByRole('status', { name: 'Connection' });
  if (moment === 'after') {
    await page.goto(address);
    await expect(connection).toContainText('Connected');
    await write();
    await page.evaluate(change);
    return;
  }
  let live = () => {};
  const isToLive = new Promise<void>((resolve) => (live = resolve));
  await page.route('**/*.wasm*', (route) => isToLive.then(() => route.continue()));
  if (lasts) await page.addInitScript(change);
  await page.goto(address);
  if (!lasts) await page.evaluate(change);
  await write();
  live();
  await expect(connection).toContainText('Connected');
}

/** Sends a form as without JavaScript. Returns the address of the resulting page. */
async function send(person: Person, form: string, fields: Record<string, string>): Promise<string> {
  const { url } = person.server;
  const { request } = person.page.context();
  // The first response sets the session cookie.
  await request.get(url);
  const answer = await request.post(`${url}/api/${form}`, { form: fields, headers: { accept: 'text/html', origin: url } });
  await expect(answer).toBeOK();
  return answer.url();
}

async function homeDoesItsJob(person: Newcomer, kind: string, moment: Moment): Promise<void> {
  const [ana, bea] = [await person(), await person()];
  await send(ana, 'start_chat', { nickname: 'Ana', title: 'Coffee' });
  const { home } = bea;
  await openChanged(bea.page, bea.server.url, kind, moment, () => home.title.fill('Tea at fi'));
  await expect(home.title).toHaveValue('Tea at fi');
  const listing = (title: string) => home.listings.filter({ hasText: title });
  await expect(listing('Coffee')).toHaveCount(1);
  await send(ana, 'start_chat', { title: 'Green tea' });
  await expect(listing('Green tea')).toHaveCount(1);
  await expect(listing('Coffee')).toHaveCount(1);
  await expect(home.chats).toContainText('2 open chats');
  await home.filter.fill('green');
  await expect(home.listings).toHaveCount(1);
  await expect(home.title).toHaveValue('Tea at fi');
  const nickname = await home.nickname.inputValue();
  await home.anotherNickname.click();
  await expect(home.nickname).not.toHaveValue(nickname);
  await home.title.press('End');
  await home.title.pressSequentially('ve');
  await home.start.click();
  await expect(bea.chat.heading).toContainText('Tea at five');
}

async function chatDoesItsJob(person: Newcomer, kind: string, moment: Moment): Promise<void> {
  const [ana, bea] = [await person(), await person()];
  const link = await send(bea, 'start_chat', { nickname: 'Bea', title: 'Tea' });
  const id = new URL(link).pathname.split('/').pop()!;
  await send(bea, 'post_message', { chat: id, client_id: '0123456789abcdef', body: 'Is anybody there?' });
  const { chat } = bea;
  await openChanged(bea.page, link, kind, moment, () => chat.composer.fill('half a tho'));
  await expect(chat.composer).toHaveValue('half a tho');
  const said = (text: string) => chat.messages.filter({ hasText: text });

  await send(ana, 'set_nickname', { nickname: 'Ana' });
  await ana.open(link);
  await expect(chat.members).toHaveCount(2);
  await expect(chat.people).toContainText('2 people online');
  await chat.composer.press('End');
  await chat.composer.pressSequentially('ught');
  await chat.composer.press('Enter');
  await expect(ana.chat.message('half a thought')).toBeVisible();
  await expect(said('half a thought')).toHaveCount(1);
  await expect(chat.composer).toHaveValue('');
  await ana.chat.composer.pressSequentially('an answer');
  await expect(chat.member('Ana')).toContainText('typing');
  await ana.chat.composer.press('Enter');
  await expect(said('an answer')).toHaveCount(1);
  await expect(chat.member('Ana')).not.toContainText('typing');
  await ana.chat.say('/nick Anna');
  await expect(chat.member('Anna')).toHaveCount(1);
  await chat.composer.fill('by the button');
  await chat.send.click();
  await expect(ana.chat.message('by the button')).toBeVisible();
  await chat.editTitle.click();
  await chat.title.fill('Coffee');
  await chat.save.click();
  for (const one of [ana, bea]) await expect(one.chat.heading).toContainText('Coffee');
  await bea.goOffline(true);
  await expect(chat.connection).toContainText('Offline');
  await expect(chat.connection).not.toContainText('Connected');
  await bea.goOffline(false);
  await expect(chat.connection).toContainText('Connected');

  const everything = ['Is anybody there?', 'half a thought', 'an answer', 'by the button'];
  expect(await ana.chat.texts()).toEqual(everything);
  for (const text of everything) await expect(said(text)).toHaveCount(1);
  await expect(chat.log.getByText('Sending')).toHaveCount(0);
}

// A page that hangs fails its test early.
test.describe.configure({ timeout: 30_000 });
// Browsers log an error when they are offline.
test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_INTERNET_DISCONNECTED/] } });

for (const kind of [...Object.keys(changes), ...Object.keys(lastingChanges)]) {
  for (const moment of ['before', 'after'] as const) {
    test(`home, ${moment} hydration: ${kind}`, ({ person }) => homeDoesItsJob(person, kind, moment));
    test(`chat, ${moment} hydration: ${kind}`, ({ person }) => chatDoesItsJob(person, kind, moment));
  }
}
