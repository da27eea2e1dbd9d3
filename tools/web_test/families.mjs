// Models of other families than the embedded one's, as folders that a visitor picks.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './browser.mjs';
import { clear, errors, file, prepare, ready, steps, text } from './page.mjs';
import { download, losses, native, unpack } from './program.mjs';

// What the page shows of each, by its folder; those of the reference files where there are any.
const reference = process.env.QLORA_REFERENCE_DIR ?? '../shared/reference';
const models = [
  ['gemma3', 'internal/parity/testdata/gemma3_text/model', 'Gemma3', '2 of 3 layers see the last 7 tokens, layers rotate by 2 bases, ' +
    'queries and keys are normed, norms stand around attention and MLP, GELU in the place of SiLU'],
  ['phi3', join(reference, 'families/phi3/model'), 'Phi3', '24 of 32 dimensions of a head rotate, rotations are others beyond 24 tokens, ' +
    'q, k and v are one matrix, gate and up another'],
].filter(([, folder]) => existsSync(folder));

// The models have no tokenizer: they get one of single characters, whose first ids are those of their configurations.
const vocabulary = ['<pad>', '<s>', '</s>', '<unk>', ...' abcdefghijklmnopqrstuvwxyz.,?'];
const tokenizer = JSON.stringify({
  added_tokens: [1, 2].map((id) => ({ id, content: vocabulary[id], special: true })), decoder: { type: 'Fuse' },
  model: { type: 'BPE', vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])), merges: [], unk_token: '<unk>' },
});
const template = "{{ '<s>' }}{% for m in messages %}{{ m.content + ('</s>' if m.role == 'assistant' else '') }}{% endfor %}";
const rows = [['what color is the cup?', 'it is pink.'], ['where is ann?', 'ann is at home.'], ['who is there?', 'it is bob.'],
  ['can you sing?', 'yes, a bit.']].map(([prompt, completion]) => JSON.stringify({ prompt, completion }) + '\n').join('');
const question = 'sing, ann';
const settings = { max_steps: 3, batch_size: 2, gradient_accumulation_steps: 1, max_seq_length: 48, save_steps: 3, val_size: 0,
  learning_rate: 0.001 };

export const families = {
  async 'models of other families train as natively, and answer'(t) {
    for (const [name, folder, architecture, special] of models) {
      const page = await t.open();
      await ready(page);
      const weights = await readFile(join(folder, 'model.safetensors'));
      const files = { 'config.json': await readFile(join(folder, 'config.json')), 'tokenizer.json': tokenizer,
        'chat_template.jinja': template, 'model.safetensors': weights };
      await page.setInputFiles('#file-model', Object.entries(files).map((each) => file(...each)));
      await until(page, `${name} is open`, (shown) => document.getElementById('model-facts').innerText.includes(shown), architecture);
      const facts = await text(page, 'model-facts');
      assert.ok(facts.includes(special), `${name} is shown as ${facts}`);
      await prepare(page, { data: rows, settings, ask: question });
      await clear(page);
      await page.click('#start');
      await ready(page, 'Train again');
      assert.deepEqual(await errors(page), []);
      const here = await steps(page);
      assert.deepEqual([...here.keys()], [1, 2, 3]);
      const answer = await page.$$eval('#answers .after .said', (all) => all.map((e) => e.textContent));
      assert.ok(answer.length === 1 && answer[0] && answer[0] !== '(nothing)', `${name} answers ${answer}`);

      await unpack(await download(page, 'save-checkpoint'), t.path(name, 'tab'));
      await unpack(Object.entries(files), t.path(name, 'model'));
      await writeFile(t.path(name, 'rows.jsonl'), rows);
      await native('train', '--model', t.path(name, 'model'), '--config', t.path(name, 'tab', 'config.yaml'), '--data',
        t.path(name, 'rows.jsonl'), '--output-dir', t.path(name, 'run'), '--autotune', 'off');
      const said = (await native('generate', '--model', t.path(name, 'model'), '--adapter', t.path(name, 'run'), '--prompt', question,
        '--max-tokens', '4', '--autotune', 'off')).trim();
      const there = await losses(t.path(name, 'run'));
      const shown = [...here].map(([step, loss]) => `${loss.toFixed(4)} (${there.get(step).toFixed(4)})`);
      assert.ok(said && answer[0].startsWith(said), `${name} says ${answer[0]} in the tab, ${said} natively`);
      console.log(`${name}: losses ${shown.join(', ')} in the tab (and natively); ${JSON.stringify(answer[0])}`);
      for (const [step, loss] of there) assert.ok(Math.abs(here.get(step) - loss) <= 1e-3 * loss, `step ${step} of ${name}`);
    }
  },
};
