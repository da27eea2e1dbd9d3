// A conversation with the base model and with a run's adapter, side by side: each side goes on from its own answers.
import { engine } from './engine.js';
import { guard } from './messages.js';
import { base, config, model, run } from './state.js';
import { effect, signal } from './ui.js';

export const sides = { base: 'without the adapter', tuned: 'with the adapter' };

export const turns = signal([]); // [{key, question, base, tuned: {text, end}, error}]
export const asking = signal(null); // the engine's answer under way
export const options = signal({ temperature: 0, tokens: 128 });
export const measured = signal(null); // {base, tuned}: losses over the examples
export const measuring = signal(null); // {side, done, total}: the examples that are measured; null: none are

// most is how many tokens an answer may have with the open model.
export const most = () => Math.min(1024, model.value?.max_positions ?? 128);

const settings = () => config.value ?? base.value;
let keys = 0;

const told = (side, upTo) => turns.value.slice(0, upTo).filter((turn) => turn[side].text && !turn.error)
  .flatMap((turn) => [{ role: 'user', content: turn.question }, { role: 'assistant', content: turn[side].text }]);

// ask asks both sides a question, and shows their answers as they come.
export async function ask(question) {
  if (asking.value || !question.trim()) return;
  const key = ++keys, at = turns.value.length;
  const change = (side, more) => {
    turns.value = turns.value.map((turn) => (turn.key === key ? { ...turn, [side]: { ...turn[side], ...more } } : turn));
  };
  const content = question.trim(), nothing = { text: '', end: '' };
  const messages = Object.fromEntries(Object.keys(sides).map((side) => [side, [...told(side, at), { role: 'user', content }]]));
  turns.value = [...turns.value, { key, question: content, base: nothing, tuned: nothing, error: null }];
  const { temperature, tokens } = options.value;
  asking.value = engine.ask('chat', { Settings: settings(), Run: run.value.id, Messages: messages, Temperature: temperature,
    MaxTokens: Math.min(tokens, most()), Seed: key }, { told: ({ event, side, piece }) => {
    if (event === 'piece') change(side, { text: turns.value.find((turn) => turn.key === key)?.[side].text + piece });
  } });
  try {
    const ends = await asking.value;
    for (const side of Object.keys(sides)) change(side, { end: ends[side]?.end ?? '' });
  } catch (error) {
    if (error.cancelled) for (const side of Object.keys(sides)) change(side, { end: 'cancelled' });
    else turns.value = turns.value.map((turn) => (turn.key === key ? { ...turn, error } : turn));
  } finally {
    asking.value = null;
  }
}

export function forgetTurns() {
  asking.value?.cancel();
  turns.value = [];
}

// measure gives the losses over the examples.
export async function measure() {
  measuring.value = { side: 'base', done: 0, total: 0 };
  asking.value = engine.ask('measure', { Settings: settings(), Run: run.value.id });
  measured.value = (await guard('chat', () => asking.value)) ?? null;
  measuring.value = asking.value = null;
}

// followChat shows how far measuring is, and forgets a conversation with another run's adapter.
export function followChat() {
  engine.on('evaluating', ({ evaluating: { done, total } }) => {
    if (!measuring.value) return;
    const { side, done: before } = measuring.value;
    measuring.value = { side: done < before ? 'tuned' : side, done, total }; // the base comes first
  });
  let shown = '';
  effect(() => {
    const { id = '' } = run.value;
    if (id !== shown) {
      forgetTurns();
      measured.value = null;
    }
    shown = id;
  });
}
