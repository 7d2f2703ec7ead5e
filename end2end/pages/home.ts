import { type Locator, type Page, expect } from '@playwright/test';
import { Invites } from './invites.ts';

export class HomePage {
  readonly nickname: Locator;
  readonly title: Locator;
  readonly private: Locator;
  readonly start: Locator;
  readonly anotherNickname: Locator;
  readonly problem: Locator;
  readonly people: Locator;
  readonly chats: Locator;
  readonly listings: Locator;
  readonly filter: Locator;
  readonly more: Locator;
  readonly newChats: Locator;
  readonly connection: Locator;
  readonly invites: Invites;

  constructor(readonly page: Page) {
    this.nickname = page.getByRole('textbox', { name: 'Nickname' });
    this.title = page.getByRole('textbox', { name: 'Chat title' });
    this.private = page.getByRole('checkbox', { name: 'Private' });
    this.start = page.getByRole('button', { name: 'Start chat' });
    this.anotherNickname = page.getByRole('button', { name: 'Another nickname' });
    this.people = page.getByRole('status', { name: 'People online' });
    this.chats = page.getByRole('status', { name: 'Open chats' });
    this.listings = page.getByRole('list', { name: 'Public chats' }).getByRole('listitem');
    this.filter = page.getByRole('searchbox', { name: 'Filter by title' });
    this.more = page.getByRole('link', { name: 'More chats' });
    this.newChats = page.getByRole('button', { name: /^\d+ new chats?$/ });
    this.connection = page.getByRole('status', { name: 'Connection' });
    this.invites = new Invites(page);
    this.problem = page.getByRole('alert').filter({ hasText: /./ });
  }

  async isConnected(): Promise<void> {
    await expect(this.connection).toHaveText('Connected');
  }

  /** Returns the list item of the public chat with this title. */
  listing(title: string): Locator {
    return this.listings.filter({ has: this.page.getByRole('link', { name: title, exact: true }) });
  }

  /** Returns the titles of the public chats, in the order in which they are shown. */
  async titles(): Promise<string[]> {
    return this.listings.getByRole('link').allTextContents();
  }

  async startChat(chat: { nickname?: string; title?: string; private?: boolean } = {}): Promise<void> {
    if (chat.nickname !== undefined) await this.nickname.fill(chat.nickname);
    if (chat.title !== undefined) await this.title.fill(chat.title);
    if (chat.private) await this.private.check();
    await this.start.click();
  }
}
