// What a visitor can do, for the random walk: each action looks whether it can be done now, and does it or nothing. It
// gives what it did where its name does not say that.
import { sleep } from './browser.mjs';
import { few, file, modelFiles, tiny } from './page.mjs';

const pick = (list, next) => list[Math.floor(next() * list.length)];

// press clicks an element where a visitor could.
const press = (page, selector, at = 0) => page.evaluate(([selector, at]) => {
  const elements = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility() && !e.disabled);
  elements[Math.min(at, elements.length - 1)]?.click();
  return elements.length ? '' : 'not there';
}, [selector, at]);

// type writes into a field as its events do, where a visitor could.
const type = (page, selector, at, value) => page.evaluate(([selector, at, value]) => {
  const usable = (e) => !e.disabled && (e.checkVisibility() || e.closest('details'));
  const fields = [...document.querySelectorAll(selector)].filter(usable);
  if (!fields.length) return 'not there';
  const field = fields[at % fields.length];
  field.focus();
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
  field.dispatchEvent(new Event('change', { bubbles: true }));
  return '';
}, [selector, at, value]);

async function settings(page, values) {
  for (const [key, value] of Object.entries(values)) await type(page, `#settings #${key}`, 0, String(value));
}

// quickly presses the mouse twice at an element's place, whatever lies there by then.
async function quickly(page, selector) {
  const box = await page.locator(selector).boundingBox({ timeout: 200 }).catch(() => null);
  if (!box || box.y < 0) return 'not there';
  await page.mouse.dblclick(box.x + box.width / 2, box.y + box.height / 2, { delay: 20 });
  return '';
}

const whole = (low, high) => (next) => low + Math.floor(next() * (high - low + 1));
const valid = { lora_r: whole(1, 8), max_steps: whole(6, 12), batch_size: whole(1, 3), seed: whole(0, 99), save_steps: whole(1, 5),
  learning_rate: (next) => (next() / 100).toFixed(4) };
const silly = ['', '-1', '1e99', '0.5', 'e', '999999999'];
const words = ['', 'Who are you?', 'Where is Ann?\nAnd Gus?', '<b>&amp;</b>', 'مرحبا', '🙂'];
const texts = [few, '{"messages":', '', '[]', 'question,answer\nWho?,Me.\nWhere?,Here.\nWhat?,That.\n'];
const files = [['file-data', [file('photo.png', '\x89PNG')]], ['file-data', [file('good.jsonl', few)]],
  ['file-data', [file('empty.txt', '')]], ['file-model', [file('cut.gguf', 'GGUF')]], ['file-checkpoint', [file('x.zip', 'PK')]]];

export const actions = {
  start: { weight: 5, act: (page) => press(page, '#start') },
  pause: { weight: 3, act: (page) => press(page, '#pause') },
  stop: { weight: 2, act: (page) => press(page, '#stop') },
  'a new run': { weight: 1, act: (page) => press(page, '#fresh') },
  cancel: { weight: 1, act: (page) => press(page, '#cancel') },
  'start, and at once pause': { weight: 1, async act(page) {
    await press(page, '#start');
    await press(page, '#pause');
  } },
  'double click on Start': { weight: 1, act: (page) => quickly(page, '#start') },
  'double click on Pause': { weight: 1, act: (page) => quickly(page, '#pause') },
  wait: { weight: 5, act: (page, next) => sleep(next() * 2000) },
  'another question': { weight: 1, act: (page, next) => type(page, '#answers textarea', 0, pick(words, next)) },
  'another row': { weight: 2, act: (page, next) => type(page, '#rows textarea', Math.floor(next() * 8), pick(words, next)) },
  'add a row': { weight: 1, act: (page) => press(page, '#row-add') },
  'remove a row': { weight: 1, act: (page, next) => press(page, '#rows button', Math.floor(next() * 4)) },
  'tab': { weight: 1, act: (page, next) => press(page, pick(['#tab-table', '#tab-text'], next)) },
  'a text': { weight: 1, async act(page, next) {
    await press(page, '#tab-text');
    await type(page, '#data-text', 0, pick(texts, next));
    await press(page, '#data-apply');
  } },
  setting: { weight: 2, async act(page, next) {
    const [key, value] = pick(Object.entries(valid), next), text = String(value(next));
    return `${key} ${text} ${await type(page, `#settings #${key}`, 0, text)}`;
  } },
  'silly setting': { weight: 1, async act(page, next) {
    const key = pick(Object.keys(valid), next), text = pick(silly, next);
    return `${key} ${text} ${await type(page, `#settings #${key}`, 0, text)}`;
  } },
  'tiny settings': { weight: 3, act: (page) => settings(page, tiny) },
  subject: { weight: 1, async act(page, next) {
    await press(page, '[id^=subject-]', Math.floor(next() * 5));
    await settings(page, tiny); // of which a run ends soon
  } },
  file: { weight: 2, async act(page, next) {
    const [field, list] = pick(files, next);
    await page.setInputFiles(`#${field}`, list);
    return list[0].name;
  } },
  'a model of their own': { weight: 1, async act(page) {
    await page.setInputFiles('#file-model', await modelFiles());
    await settings(page, tiny);
  } },
  'the embedded model': { weight: 1, act: (page) => press(page, '#embedded-model') },
  'open a run': { weight: 2,
    act: (page, next) => press(page, '#runs button:is([aria-label^="Open"], [aria-label^="Go on"])', Math.floor(next() * 4)) },
  'press in the list of runs': { weight: 2, act: (page, next) => press(page, '#runs button', Math.floor(next() * 9)) },
  'a button of a message': { weight: 2, act: (page, next) => press(page, '#messages button', Math.floor(next() * 4)) },
  ask: { weight: 1, async act(page) {
    await type(page, '#ask-text', 0, 'Who is it?');
    await press(page, '#ask button');
  } },
  measure: { weight: 0.5, act: (page) => press(page, '#measure') },
  reload: { weight: 0.7, act: (page) => page.reload() },
  escape: { weight: 1, act: (page) => page.keyboard.press('Escape') },
  enter: { weight: 0.5, act: (page) => page.keyboard.press('Enter') },
  theme: { weight: 0.3, act: (page) => press(page, '#theme') },
};
