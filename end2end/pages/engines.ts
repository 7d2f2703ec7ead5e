// Page objects with the same names as in `home.ts` and `chat.ts`, for browsers that Playwright does not drive.

import { expect } from '@playwright/test';
import type { EnginePage, Part } from '../support/engines.ts';

/** The parts that both pages have. */
class AnyPage {
  readonly heading: Part;
  readonly connection: Part;
  readonly people: Part;
  readonly alert: Part;
  readonly title: Part;
  readonly nickname: Part;

  constructor(readonly page: EnginePage) {
    this.heading = page.get('heading');
    this.connection = page.get('status', 'Connection');
    this.people = page.get('status', 'People online');
    this.alert = page.get('alert');
    this.title = page.get('textbox', 'Chat title');
    this.nickname = page.get('textbox', 'Nickname');
  }

  async isConnected(): Promise<void> {
    await this.connection.says('Connected');
  }
}

export class EngineHome extends AnyPage {
  readonly start = this.page.get('button', 'Start chat');
  readonly filter = this.page.get('searchbox', 'Filter by title');
  readonly listings = this.page.get('list', 'Public chats').get('listitem');
}

export class EngineChat extends AnyPage {
  readonly log = this.page.get('log', 'Messages');
  readonly messages = this.log.get('listitem');
  readonly composer = this.page.get('textbox', 'Message');
  readonly send = this.page.get('button', 'Send');
  readonly members = this.page.get('list', 'Members').get('listitem');
  readonly goHome = this.page.get('link', 'Home');
  readonly openMembers = this.page.get('button', /(person|people) here$/);
  readonly editTitle = this.page.get('button', 'Edit title');
  readonly save = this.page.get('button', 'Save');

  async say(text: string): Promise<void> {
    await this.composer.type(text);
    await this.page.press('Enter');
  }

  /** Returns the list item of the message with this text. */
  message(text: string): Part {
    return this.messages.with(text);
  }

  member(name: string): Part {
    return this.members.with(name);
  }

  /** Returns the button that invites a member to a private chat. */
  privately(name: string): Part {
    return this.page.get('button', `Chat privately with ${name}`);
  }

  /** Expects exactly these messages, in this order. */
  async shows(texts: string[]): Promise<void> {
    const bodies = () =>
      this.page.evaluate(() => [...document.querySelectorAll<HTMLElement>('[role=log] .body')].map((body) => body.innerText));
    await expect.poll(bodies).toEqual(texts);
  }
}
