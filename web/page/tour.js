// A tour in four steps, each shown when what it explains moves.
import { chances, latest, run } from './state.js';
import { effect, signal } from './ui.js';

export const steps = [
  { at: 'stage', title: 'Ask, then teach', text: 'These are questions that the model answers in its plain way. Press Start: it will be ' +
    'asked now and then while it learns, and the words that change are marked.', due: () => true },
  { at: 'chart', title: 'The loss', text: 'Each step shows the model a few examples and measures how surprised it is by your answers: ' +
    'that is the loss. It falls as the answers become expected. The line of the examples held back says whether it also ' +
    'holds for new ones.',
    due: () => latest.value !== null && run.value.state !== 'none' },
  { at: 'mask', title: 'What it learns from', text: 'Only the marked tokens count: your answers. Their underline fills as the model ' +
    'finds them likely. Point at one to see its number.', due: () => (chances.value.now?.step ?? 0) > 0 },
  { at: 'share', title: 'The adapter', text: 'The 4-bit weights never moved. All that was learned lies in the two thin matrices A and B ' +
    'beside each: that is the file that you can download.', due: () => run.value.state === 'done' },
];

export const at = signal(-1); // the step that is shown; -1: no tour
export const waiting = signal(false); // for the next step's moment

export function begin() { at.value = 0; waiting.value = false; }
export function end() { at.value = -1; }

export function next() {
  if (at.value + 1 >= steps.length) return end();
  if (steps[at.value + 1].due()) at.value += 1;
  else waiting.value = true;
  return undefined;
}

// followTour goes on as soon as what comes next moves.
export function followTour() {
  effect(() => {
    if (at.value < 0 || at.value + 1 >= steps.length) return;
    if (steps[at.value + 1].due() && (waiting.value || at.value === 0)) {
      waiting.value = false;
      at.value += 1;
    }
  });
}
