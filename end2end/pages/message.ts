import type { Locator, Page } from '@playwright/test';

/** A message, and what can be done with it. */
export class MessageRow {
  readonly reply: Locator;
  readonly react: Locator;
  readonly more: Locator;
  readonly menu: Locator;
  readonly reactions: Locator;
  readonly inReply: Locator;
  readonly field: Locator;
  readonly save: Locator;
  readonly cancel: Locator;
  readonly problem: Locator;
  readonly edited: Locator;

  constructor(
    readonly page: Page,
    readonly row: Locator,
  ) {
    this.reply = this.action('Reply');
    this.react = this.action('React');
    this.more = this.action('More');
    this.menu = page.getByRole('menu', { name: 'More' });
    this.inReply = row.getByRole('link', { name: /^In reply to / });
    // named by the emoji and its count
    this.field = row.getByRole('textbox', { name: 'Message', exact: true });
    this.save = row.getByRole('button', { name: 'Save', exact: true });
    this.cancel = row.getByRole('button', { name: 'Cancel', exact: true });
    this.problem = row.getByRole('alert');
    this.edited = row.getByText('edited', { exact: true });
    this.reactions = row.getByRole('button', { name: /^\S+ \d+$/ });
  }

  /** An action in the bar. Without JavaScript it is a link. */
  private action(name: string): Locator {
    return this.row.getByRole('button', { name, exact: true }).or(this.row.getByRole('link', { name, exact: true }));
  }

  async openMore(): Promise<void> {
    await this.row.hover();
    await this.more.click();
  }

  async beginReply(): Promise<void> {
    await this.row.hover();
    await this.reply.click();
  }

  /** Returns the link to what this message answers, by the name of its author. */
  inReplyTo(name: string): Locator {
    return this.row.getByRole('link', { name: `In reply to ${name}`, exact: true });
  }

  async openPicker(): Promise<void> {
    await this.row.hover();
    await this.react.click();
  }

  /** Opens the field to edit the message. */
  async edit(): Promise<void> {
    await this.openMore();
    await this.item('Edit message').click();
  }

  async remove(): Promise<void> {
    await this.openMore();
    await this.item('Remove message').click();
  }

  /** Returns an item of the open menu. */
  item(name: string): Locator {
    return this.menu.getByRole('menuitem', { name, exact: true });
  }

  reaction(emoji: string, count: number): Locator {
    return this.row.getByRole('button', { name: `${emoji} ${count}`, exact: true });
  }

  /** Holds a finger on the text until something happens, then lifts it. */
  async hold(until: () => Promise<void>): Promise<void> {
    const { x, y, height } = (await this.row.locator('.body').boundingBox())!;
    const finger = await this.page.context().newCDPSession(this.page);
    await finger.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: x + 5, y: y + height / 2 }] });
    await until();
    await finger.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  }
}

/** The picker of emoji. */
export class EmojiPicker {
  readonly dialog: Locator;
  readonly search: Locator;

  constructor(page: Page) {
    this.dialog = page.getByRole('dialog', { name: 'Emoji', exact: true });
    this.search = this.dialog.getByRole('searchbox', { name: 'Search emoji' });
  }

  /** Returns the button of an emoji in a part of the picker. */
  emoji(name: string, part: 'Found' | 'Used lately' | string = 'Found'): Locator {
    return this.dialog.getByRole('region', { name: part }).getByRole('button', { name, exact: true });
  }

  tone(name: string): Locator {
    return this.dialog.getByRole('radio', { name, exact: true });
  }
}
