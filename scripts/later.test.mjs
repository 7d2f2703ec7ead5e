// Tests of the pieces that come later (style/public/later), as far as they need no browser: `node --test scripts/later.test.mjs`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { actions, step as stepInMenu } from '../style/public/later/actions.js';
import { fitting, namedAt, wantedAt } from '../style/public/later/complete.js';
import { counter } from '../style/public/later/edit.js';
import { COLUMNS, find, fold, parse, step, toned } from '../style/public/later/emoji.js';
import { KEYS } from '../style/public/later/keys.js';
import { fenced, mayBeCode, withBlock } from '../style/public/later/paste.js';
import { withRemoval } from '../style/public/later/undo.js';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const groups = parse(read('style/public/emoji.txt'));
const all = groups.flatMap(({ emoji }) => emoji);
const found = (search, limit = 5) => find(groups, search, limit).map(({ emoji }) => emoji);

test('the table has every emoji once, in its group', () => {
  assert.equal(groups.length, 9);
  assert.equal(groups[0].name, 'Smileys and emotion');
  assert.equal(groups.at(-1).name, 'Flags');
  assert.ok(all.length > 1_900, String(all.length));
  assert.equal(new Set(all.map(({ emoji }) => emoji)).size, all.length);
  for (const { emoji, name, codes, words } of all) assert.ok(emoji && name && codes[0] && words.length, `${emoji} ${name}`);
  const [hash] = all.filter(({ emoji }) => emoji === '#️⃣');
  assert.equal(hash.name, 'keycap: #', 'it begins as the line of a group does');
});

test('an emoji is found by its short code first, then by the beginnings of its words, then by parts of them', () => {
  assert.equal(found('tada')[0], '🎉');
  assert.equal(found('+1')[0], '👍');
  assert.equal(found('-1')[0], '👎');
  assert.equal(found('heart')[0], '❤️');
  assert.ok(found('grin face').includes('😀'));
  assert.ok(found('pine', 20).includes('🍍'), 'the beginning of pineapple');
  assert.ok(found('apple', 20).indexOf('🍎') < found('apple', 20).indexOf('🍍'), 'a word before a part of one');
});

test('a search does not care about case, accents and underscores, and may find nothing', () => {
  assert.deepEqual(found('TADA'), found('tada'));
  assert.deepEqual(found('Côte d’Ivoire'), ['🇨🇮']);
  assert.deepEqual(found('cote'), found('CÔTE'));
  assert.deepEqual(found('red_heart'), found('red heart'));
  assert.deepEqual(found('zzzz'), []);
  assert.deepEqual(found('  '), []);
  assert.equal(found('face', 3).length, 3);
});

test('skin tones follow the first character, or each of two people', () => {
  assert.equal(toned('👋', ''), '👋');
  assert.equal(toned('👋', '🏽'), '👋🏽');
  assert.equal(toned('☝️', '🏿'), '☝🏿', 'in place of the variation selector');
  assert.equal(toned('👩‍🔬', '🏻'), '👩🏻‍🔬');
  assert.equal(toned('🧑‍🤝‍🧑', '🏽'), '🧑🏽‍🤝‍🧑🏽');
  assert.ok(all.filter(({ hasTones }) => hasTones).length > 300);
});

test('the arrow keys move as the emoji are laid out', () => {
  const sizes = [0, 3, COLUMNS + 2, 5];
  const go = (from, ...keys) => keys.reduce((place, key) => place && step(sizes, place, key), from);
  assert.deepEqual(go([1, 0], 'ArrowRight', 'ArrowRight', 'ArrowRight'), [2, 0], 'on to the next group');
  assert.deepEqual(go([2, 0], 'ArrowLeft'), [1, 2]);
  assert.deepEqual(go([1, 0], 'ArrowLeft'), [1, 0], 'an empty group is not the first');
  assert.deepEqual(go([2, 1], 'ArrowDown'), [2, COLUMNS + 1]);
  assert.deepEqual(go([2, 5], 'ArrowDown'), [2, COLUMNS + 1], 'the last row is shorter');
  assert.deepEqual(go([2, COLUMNS + 1], 'ArrowDown'), [3, 1]);
  assert.deepEqual(go([3, 4], 'ArrowDown'), [3, 4], 'nothing below');
  assert.deepEqual(go([3, 1], 'ArrowUp'), [2, COLUMNS + 1], 'the last row of the group above');
  assert.deepEqual(go([3, 4], 'ArrowUp'), [2, COLUMNS + 1]);
  assert.equal(go([1, 2], 'ArrowUp'), null, 'back to the search');
  assert.deepEqual([go([2, 4], 'Home'), go([2, 4], 'End')], [[1, 0], [3, 4]]);
  assert.deepEqual([go([2, 4], 'PageDown'), go([2, 4], 'PageUp')], [[3, 0], [1, 0]]);
  assert.equal(go([2, 4], 'a'), undefined);
});

test('from every emoji every arrow leads to another one or stays', () => {
  const sizes = [0, 16, 173, 390, 0, 1];
  sizes.forEach((size, group) => {
    for (let place = 0; place < size; place += 1) {
      for (const key of ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End', 'PageUp', 'PageDown']) {
        const next = step(sizes, [group, place], key);
        assert.ok(next === null || (next[1] >= 0 && next[1] < sizes[next[0]]), `${group} ${place} ${key} ${next}`);
      }
    }
  });
});

const wanted = (text) => {
  const place = text.includes('|') ? text.indexOf('|') : text.length;
  const one = wantedAt(text.replace('|', ''), place);
  return one && `${one.kind}${one.query}@${one.from}`;
};

test('a name is completed after an @ that begins a word', () => {
  assert.equal(wanted('@'), '@@0');
  assert.equal(wanted('@An'), '@An@0');
  assert.equal(wanted('hello @Ana M'), '@Ana M@6');
  assert.equal(wanted('(@An'), '@An@1');
  assert.equal(wanted('@An| and more'), '@An@0');
  for (const text of ['', 'ana@example', '@ Ana', 'hello', '@a@b', '@An\n', `@${'x'.repeat(41)}`]) assert.equal(wanted(text), null, text);
});

test('an emoji is completed after a colon and two letters', () => {
  assert.equal(wanted(':ta'), ':ta@0');
  assert.equal(wanted('so :+1'), ':+1@3');
  for (const text of [':', ':t', 'at 10:30', 'https://ab', 'note:abc', '::ab', ':)', ': ta']) assert.equal(wanted(text), null, text);
});

test('a command is completed at the beginning of the text alone', () => {
  assert.equal(wanted('/'), '/@0');
  assert.equal(wanted('/ni'), '/ni@0');
  for (const text of ['/nick Ana', ' /ni', 'a /ni', '/ni|ck', '//x', '/usr/bin']) assert.equal(wanted(text), null, text);
});

test('in code nothing is completed but the text itself', () => {
  for (const text of ['`@An', '```\n@An', '```rs\nlet a:us', 'a `b` and `:ta']) assert.equal(wanted(text), null, text);
  assert.equal(wanted('`a` @An'), '@An@4');
  assert.equal(wanted('```\na\n```\n@An'), '@An@10');
});

test('an emoji that is named in full between colons is recognised', () => {
  assert.deepEqual(namedAt('so :tada:', 9), { from: 3, name: 'tada' });
  for (const text of [':t:', '10:30:', 'a:bc:', '`:tada:', ':ta da:', '::']) assert.equal(namedAt(text, text.length), null, text);
});

test('people are found by their names, those who are here first', () => {
  const people = ['Ben', 'Ana Maria', 'Ömer', 'Ana', 'Joana', 'Maria'].map((name, place) => ({ id: String(place), name, isHere: place !== 3 }));
  const names = (search) => fitting(people, search).map(({ name }) => name);
  assert.deepEqual(names('ana'), ['Ana Maria', 'Ana', 'Joana']);
  assert.deepEqual(names('mar'), ['Maria', 'Ana Maria']);
  assert.deepEqual(names('om'), ['Ömer']);
  assert.deepEqual(names('Ana M'), ['Ana Maria']);
  assert.deepEqual(names('Ana is'), []);
  assert.equal(names('').length, 6);
  assert.equal(fitting(Array.from({ length: 300 }, (_, id) => ({ id: String(id), name: `N${id}`, isHere: true })), 'n').length, 8);
});

test('names are compared without case and accents', () => {
  assert.equal(fold('ÉLAN'), fold('élan'));
  assert.equal(fold('ﬁn'), 'fin');
});

test('long and indented texts may be code, and others are left alone', () => {
  assert.ok(mayBeCode('x\n'.repeat(16)) && mayBeCode('x'.repeat(1_501)) && mayBeCode('if a:\n    b\n    c\nd'));
  for (const text of ['a\nb\nc\nd', 'one line', '```\nif\n  a\n  b\n```\nx', 'x\n'.repeat(15)]) assert.ok(!mayBeCode(text), text);
});

test('the fence of a block is longer than any in it', () => {
  assert.equal(fenced('a\nb\n\n'), '```\na\nb\n```');
  assert.equal(fenced('```\na\n```'), '````\n```\na\n```\n````');
});

test('a block stands on lines of its own', () => {
  const apply = (text, pasted, from) => {
    const block = withBlock(text, pasted, from);
    return block && text.slice(0, block.from) + block.insert + text.slice(block.to);
  };
  assert.equal(apply('see this: a\nb', 'a\nb', 10), 'see this: \n```\na\nb\n```');
  assert.equal(apply('a\nband more', 'a\nb', 0), '```\na\nb\n```\nand more');
  assert.equal(apply('a\nb', 'a\nb', 0), '```\na\nb\n```');
  assert.equal(apply('a\nc', 'a\nb', 0), null, 'it was edited');
});

test('the menu has what the reader may do with a message', () => {
  const bar = { closest: () => ({ dataset: { seq: '58' } }) };
  const names = (message) => actions({ core: { message: (seq) => (seq === 58 ? message : undefined) } }, bar).map(({ name }) => name);
  const message = { author: 'a', name: 'Ana', text: 'hello', isOwn: false, canEdit: false, canRemove: false };
  assert.deepEqual(names(message), ['Copy text', 'Copy link to message', 'About Ana']);
  assert.deepEqual(names({ ...message, canRemove: true }), ['Copy text', 'Copy link to message', 'About Ana', 'Remove message']);
  assert.deepEqual(names({ ...message, text: '', isOwn: true, canEdit: true, canRemove: true }), [
    'Edit message',
    'Copy link to message',
    'About your message',
    'Remove message',
  ]);
  assert.deepEqual(names(undefined), []);
});

test('keys move in a menu, round its ends, and by first letters', () => {
  const names = ['Edit', 'Copy text', 'Copy link', 'Remove'];
  const go = (place, key) => stepInMenu(names, place, key);
  assert.deepEqual([go(0, 'ArrowDown'), go(3, 'ArrowDown'), go(0, 'ArrowUp'), go(2, 'Home'), go(1, 'End')], [1, 0, 3, 0, 3]);
  assert.deepEqual([go(0, 'c'), go(1, 'C'), go(2, 'c'), go(0, 'x'), go(0, 'Enter')], [1, 2, 1, undefined, undefined]);
});

test('the dialog of keys has each key that later.js and actions.js know', () => {
  const source = read('style/public/later.js') + read('style/public/later/actions.js');
  const shown = new Set(KEYS.flatMap(([, keys]) => keys.flatMap(([names]) => names)));
  const letters = source.match(/LETTER_KEYS = \[(.*?)\]/)[1].match(/'(.)'/g).map((each) => each[1].toUpperCase());
  for (const key of [...letters, '?', '/', 'Delete', '←', '→']) assert.ok(shown.has(key), key);
  for (const key of letters) assert.ok(source.includes(`case '${key.toLowerCase()}'`), `${key} does something`);
});

test('later.js and the pieces agree on what they keep, and later.css on the columns', () => {
  const kept = (path) => read(path).match(/NO_LETTER_KEYS = '(.*?)'/)[1];
  assert.equal(kept('style/public/later.js'), kept('style/public/later/keys.js'));
  assert.ok(read('style/public/later/later.css').includes(`repeat(${COLUMNS}, `));
});

test('the counter of an edit begins near the limit, and counts characters as readers do', () => {
  assert.equal(counter(''), '');
  assert.equal(counter('x'.repeat(3_800)), '');
  assert.equal(counter('x'.repeat(3_801)), '199 left');
  assert.equal(counter('x'.repeat(4_000)), '0 left');
  assert.equal(counter('x'.repeat(4_003)), '3 too many');
  assert.equal(counter(`${'x'.repeat(3_999)}\n\n`), '1 left', 'white space at the end is not sent');
  assert.equal(counter('👩‍🔬'.repeat(3_900)), '100 left');
});

test('a removal is taken back with all that the message had', () => {
  const command = JSON.stringify({ restore_message: { chat: '0c', message: 60, removal: 0, body: 'yes', reply_to: 58, pictures: [{ id: 'p4', alt: 'A cat' }] } });
  const { restore_message: restored } = withRemoval(command, 64);
  assert.deepEqual(restored, { chat: '0c', message: 60, removal: 64, body: 'yes', reply_to: 58, pictures: [{ id: 'p4', alt: 'A cat' }] });
});
