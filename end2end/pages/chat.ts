import { type Locator, type Page, expect } from '@playwright/test';
import { Invites } from './invites.ts';
import { MessageRow } from './message.ts';
import { Search } from './search.ts';

export class ChatPage {
  readonly heading: Locator;
  readonly log: Locator;
  readonly messages: Locator;
  readonly composer: Locator;
  readonly send: Locator;
  readonly members: Locator;
  readonly connection: Locator;
  readonly copyLink: Locator;
  readonly alert: Locator;
  readonly editTitle: Locator;
  readonly title: Locator;
  readonly editNickname: Locator;
  readonly nickname: Locator;
  readonly save: Locator;
  readonly cancel: Locator;
  readonly goHome: Locator;
  readonly firstNew: Locator;
  readonly nextMention: Locator;
  readonly removed: MessageRow;
  readonly undo: Locator;
  readonly public: Locator;
  readonly people: Locator;
  readonly chats: Locator;
  readonly openMembers: Locator;
  readonly invites: Invites;
  readonly locked: Locator;
  readonly lock: Locator;
  readonly about: Locator;
  readonly newPeople: Locator;
  readonly attach: Locator;
  readonly files: Locator;
  readonly toSend: Locator;
  readonly picture: Locator;
  readonly answering: Locator;
  readonly cancelReply: Locator;
  readonly newLine: Locator;
  readonly days: Locator;
  readonly search: Search;

  constructor(readonly page: Page) {
    this.heading = page.getByRole('heading', { level: 1 });
    this.log = page.getByRole('log', { name: 'Messages' });
    this.messages = this.log.getByRole('listitem');
    this.composer = page.getByRole('textbox', { name: 'Message', exact: true });
    this.send = page.getByRole('button', { name: 'Send' });
    this.members = page.getByRole('list', { name: 'Members' }).getByRole('listitem');
    this.connection = page.getByRole('status', { name: 'Connection' });
    this.copyLink = page.getByRole('button', { name: 'Copy link' });
    this.editTitle = page.getByRole('button', { name: 'Edit title' });
    this.title = page.getByRole('textbox', { name: 'Chat title' });
    this.editNickname = page.getByRole('button', { name: 'Edit nickname' });
    this.nickname = page.getByRole('textbox', { name: 'Nickname' });
    this.save = page.getByRole('button', { name: 'Save' });
    this.cancel = page.getByRole('button', { name: 'Cancel' });
    this.goHome = page.getByRole('link', { name: 'Home', exact: true });
    this.firstNew = page.getByRole('button', { name: 'First new message' });
    this.nextMention = page.getByRole('button', { name: 'Next mention' });
    this.removed = new MessageRow(page, this.messages.filter({ has: page.getByText('Message removed', { exact: true }) }));
    this.undo = this.log.getByRole('button', { name: 'Undo', exact: true });
    this.public = page.getByRole('switch', { name: 'Public' });
    this.people = page.getByRole('status', { name: 'People online' });
    this.chats = page.getByRole('status', { name: 'Open chats' });
    this.openMembers = page.getByRole('button', { name: /(person|people) here$/ });
    this.locked = page.getByRole('switch', { name: 'Locked' });
    this.lock = page.getByRole('status', { name: 'Lock' });
    this.about = page.getByRole('dialog', { name: /^About / });
    this.newPeople = page.getByRole('button', { name: /^\d+ new$/ });
    this.attach = page.getByRole('button', { name: 'Attach pictures' });
    this.files = page.getByLabel('Pictures', { exact: true });
    this.toSend = page.getByRole('list', { name: 'Pictures to send' }).getByRole('listitem');
    this.picture = page.getByRole('dialog', { name: 'Picture', exact: true });
    this.invites = new Invites(page);
    this.answering = page.locator('.answering');
    // Without JavaScript it is a link.
    const cancelReply = { name: 'Cancel reply', exact: true };
    this.cancelReply = page.getByRole('button', cancelReply).or(page.getByRole('link', cancelReply));
    this.newLine = this.log.getByText('New', { exact: true });
    this.days = this.log.locator('.day').getByRole('link');
    this.search = new Search(page);
    this.alert = page.getByRole('alert').filter({ hasText: /./ });
  }

  /** Waits until the chat is shown and, if JavaScript is enabled, connected. */
  async isOpen(): Promise<void> {
    await expect(this.composer).toBeVisible();
    if (await this.page.evaluate(() => matchMedia('(scripting: enabled)').matches)) await this.isConnected();
  }

  async isConnected(): Promise<void> {
    await expect(this.connection).toHaveText('Connected');
  }

  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press('Enter');
  }

  /** Posts many messages as fast as the page can, in batches of 50, since the number of pending messages is limited. */
  async sayAll(texts: string[]): Promise<void> {
    for (let said = 0; said < texts.length; said += 50) {
      await this.composer.evaluate((field, texts) => {
        for (const text of texts) {
          (field as HTMLTextAreaElement).value = text;
          field.dispatchEvent(new InputEvent('input', { bubbles: true }));
          field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
        }
      }, texts.slice(said, said + 50));
      await expect(this.log.getByText('Sending')).toHaveCount(0, { timeout: 15_000 });
    }
  }

  /** Returns the list item of the message with this text, not of those that answer it. */
  message(text: string): Locator {
    const said = this.page.getByText(text, { exact: true }).and(this.page.locator(':not(.in-reply, .in-reply *)'));
    return this.messages.filter({ has: said });
  }

  /** Answers a message by its button. */
  async reply(text: string, answer: string): Promise<void> {
    await this.row(text).beginReply();
    await this.say(answer);
    await expect(this.message(answer)).not.toContainText('Sending');
  }

  /** Returns the message with this text, and what can be done with it. */
  row(text: string): MessageRow {
    return new MessageRow(this.page, this.message(text));
  }

  /** Opens the dialog with the details of a message. */
  async aboutMessage(text: string): Promise<void> {
    const row = this.row(text);
    await row.openMore();
    // Without JavaScript, "More" is a link to a page with the dialog.
    await row.menu.or(this.about).waitFor();
    if (await row.menu.isVisible()) await row.menu.getByRole('menuitem', { name: /^About / }).click();
    await expect(this.about).toBeVisible();
  }

  /** Opens the dialog with the actions on a member. */
  async aboutMember(name: string): Promise<void> {
    const about = { name: `About ${name}`, exact: true };
    await this.members.getByRole('button', about).or(this.members.getByRole('link', about)).click();
    await expect(this.about).toBeVisible();
  }

  /** Returns the button of an action in the open dialog. */
  act(name: string): Locator {
    return this.about.getByRole('button', { name });
  }

  /** Returns the pictures in messages, by their description or their author. */
  pictureNamed(name: string): Locator {
    return this.log.getByRole('img', { name, exact: true });
  }

  /** Drops files on the composer, or pastes them. */
  async give(kind: 'drop' | 'paste', files: readonly { name: string; mimeType: string; buffer: Buffer }[]): Promise<void> {
    const given = files.map(({ name, mimeType, buffer }) => ({ name, mimeType, content: buffer.toString('base64') }));
    await this.composer.evaluate(
      (field, { kind, given }) => {
        const data = new DataTransfer();
        for (const { name, mimeType, content } of given) {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          data.items.add(new File([bytes], name, { type: mimeType }));
        }
        const options = { bubbles: true, cancelable: true };
        field.dispatchEvent(
          kind === 'drop' ? new DragEvent('drop', { ...options, dataTransfer: data }) : new ClipboardEvent('paste', { ...options, clipboardData: data }),
        );
      },
      { kind, given },
    );
  }

  member(name: string): Locator {
    return this.members.filter({ hasText: name });
  }

  /** Returns the button that invites a member to a private chat. */
  privately(name: string): Locator {
    return this.members.getByRole('button', { name: `Chat privately with ${name}` });
  }

  /** Returns the texts of all messages, stored or pending, in the order in which they are shown. */
  async texts(): Promise<string[]> {
    return this.log.locator('.body').allInnerTexts();
  }
}
