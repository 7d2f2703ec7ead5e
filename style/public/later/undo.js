// Takes back that an own message was removed. The server has not kept what it said: this page has, for as long as the button
// is there, and says it again.

/** @import { Page } from '../../later' */

/** How long it can be undone, in milliseconds. The server allows some more, for the way there. */
const UNDO_MILLIS = 5_000;

/** Returns the command that restores a message, complete: with the position of its removal. */
export const withRemoval = (/** @type {string} */ command, /** @type {number} */ removal) => {
  const { restore_message: restored } = JSON.parse(command);
  return { restore_message: { ...restored, removal } };
};

const field = () => /** @type {HTMLTextAreaElement | null} */ (document.querySelector('.composer textarea'));
const focusField = () => matchMedia('(hover: hover) and (pointer: fine)').matches && field()?.focus();

/** Puts a text into the field, if nothing is written there. Returns whether it did. */
const keep = (/** @type {string} */ text) => {
  const composer = field();
  if (!composer || composer.value || !text) return false;
  composer.value = text;
  composer.dispatchEvent(new InputEvent('input', { bubbles: true }));
  return true;
};

/** Offers to take the removal of the message in this row back. */
export const offerUndo = (
  /** @type {Page} */ page,
  /** @type {HTMLElement} */ row,
  /** @type {string} */ command,
  /** @type {number} */ removal,
  /** @type {boolean} */ isByKeys,
) => {
  const button = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet undo', textContent: 'Undo' });
  const end = () => {
    clearTimeout(timer);
    const hadFocus = button === document.activeElement;
    button.remove();
    return hadFocus;
  };
  const timer = setTimeout(() => end() && focusField(), UNDO_MILLIS);
  button.addEventListener('click', async () => {
    clearTimeout(timer);
    if (button.getAttribute('aria-busy')) return;
    button.setAttribute('aria-busy', 'true');
    const restored = withRemoval(command, removal);
    try {
      await page.ask(restored);
      const hadFocus = end();
      page.tell('The message is back');
      // its actions are there again with the next frame
      if (hadFocus) requestAnimationFrame(() => /** @type {HTMLElement | null} */ (row.querySelector('.actions a'))?.focus({ preventScroll: true }));
    } catch (error) {
      end();
      const { message } = /** @type {Error} */ (error);
      page.tell(keep(restored.restore_message.body) ? `${message} Its text is in the field again.` : message);
      focusField();
    }
  });
  row.append(button);
  // who removed it by a key is here, and not about to write: what they type next must not press it
  if (isByKeys) button.focus({ preventScroll: true });
};
