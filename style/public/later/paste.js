// Offers to make a long text that was pasted a block of code, which keeps its lines and its indentation.

/** @import { Page } from '../../later' */

const [MANY_CHARACTERS, MANY_LINES, SOME_LINES] = [1_500, 16, 4];

/** Whether a text that was pasted may be meant as a block of code: it is long, or has several lines with indentation. */
export const mayBeCode = (/** @type {string} */ text) => {
  const lines = text.replace(/\n+$/, '').split('\n');
  const isIndented = lines.filter((line) => /^(\t| {2,})\S/.test(line)).length > 1;
  const isFenced = lines.some((line) => /^\s*(```|~~~)/.test(line));
  return !isFenced && (text.length > MANY_CHARACTERS || lines.length >= MANY_LINES || (lines.length >= SOME_LINES && isIndented));
};

/** Returns a text as a block of code. Its fence is longer than any run of backticks in it. */
export const fenced = (/** @type {string} */ text) => {
  const runs = text.match(/`+/g) ?? [];
  const fence = '`'.repeat(Math.max(3, ...runs.map((run) => run.length + 1)));
  return `${fence}\n${text.replace(/\n+$/, '')}\n${fence}`;
};

/** Returns what to replace, and by what, so that a part that was pasted is a block on lines of its own. `null` if it is not there any more. */
export const withBlock = (/** @type {string} */ text, /** @type {string} */ pasted, /** @type {number} */ from) => {
  if (text.slice(from, from + pasted.length) !== pasted) return null;
  const [before, after] = [text.slice(0, from), text.slice(from + pasted.length)];
  const gap = before && !before.endsWith('\n') ? '\n' : '';
  return { from, to: from + pasted.length, insert: gap + fenced(pasted) + (after && !after.startsWith('\n') ? '\n' : '') };
};

/** Ends the offer that is shown. */
let endOffer = () => {};

const make = (/** @type {string} */ name, /** @type {() => void} */ act) => {
  const button = Object.assign(document.createElement('button'), { type: 'button', className: 'quiet', textContent: name });
  button.addEventListener('click', act);
  return button;
};

/** Offers to make a text that was just pasted into a field a block of code. */
export const offer = (/** @type {Page} */ page, /** @type {HTMLElement} */ element, /** @type {string} */ pasted) => {
  const field = /** @type {HTMLTextAreaElement} */ (element);
  // fields keep one kind of line break
  const text = pasted.replace(/\r\n?/g, '\n');
  const from = field.selectionStart - text.length;
  endOffer();
  if (!mayBeCode(text) || from < 0 || !withBlock(field.value, text, from)) return;
  const bar = document.createElement('div');
  bar.className = 'paste-offer floating';
  bar.setAttribute('role', 'group');
  bar.setAttribute('aria-label', 'Pasted text');
  const end = () => {
    bar.remove();
    field.removeEventListener('input', handleInput);
    field.removeEventListener('sent', end);
    removeEventListener('keydown', handleEscape, true);
  };
  const handleEscape = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== 'Escape' || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    end();
    field.focus();
  };
  // once it was edited or sent, what was pasted is the reader's own text
  const handleInput = () => !withBlock(field.value, text, from) && end();
  const apply = () => {
    const block = withBlock(field.value, text, from);
    end();
    field.focus();
    if (!block) return;
    field.setSelectionRange(block.from, block.to);
    if (!document.execCommand('insertText', false, block.insert)) {
      field.setRangeText(block.insert, block.from, block.to, 'end');
      field.dispatchEvent(new InputEvent('input', { bubbles: true }));
    }
  };
  const leave = () => {
    end();
    field.focus();
  };
  bar.append(make('Make it a code block', apply), make('Leave it', leave));
  field.addEventListener('input', handleInput);
  field.addEventListener('sent', end);
  addEventListener('keydown', handleEscape, true);
  endOffer = end;
  // after the field, so that Tab leads to it
  field.after(bar);
  page.tell('What you pasted can be made a code block: Tab leads to the button.');
};
