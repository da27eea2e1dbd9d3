// The table of examples as the user edits it, with the way back.
import { engine } from './engine.js';
import { sentence } from './format.js';
import { openData } from './inputs.js';
import { guard, tell } from './messages.js';
import { leaveForData } from './run.js';
import { data, edited } from './state.js';
import { computed, effect, signal } from './ui.js';

// pairs are the questions and answers, null where the rows are something else or too many.
export const pairs = computed(() => edited.value?.pairs ?? data.value?.pairs ?? null);

const deep = 50; // steps back
const past = signal([]); // earlier tables
export const canUndo = computed(() => past.value.length > 0);
let typing = ''; // the cell being typed into: one step back for all that is typed there

// change puts another table in the place of the present one. Of what is typed into one cell only the first is a step.
export function change(next, cell = '') {
  if (!cell || cell !== typing) past.value = [...past.value, pairs.value].slice(-deep);
  typing = cell;
  leaveForData();
  edited.value = { pairs: next };
}

export function undo() {
  const before = past.value.at(-1);
  if (!before) return;
  past.value = past.value.slice(0, -1);
  typing = '';
  leaveForData();
  edited.value = { pairs: before };
}

// followEditing forgets the way back where other examples are opened.
export function followEditing() {
  effect(() => {
    if (data.value?.kind !== 'edited' && !edited.value) { past.value = []; typing = ''; }
  });
}

// paste fills the table from a row on with what a spreadsheet's clipboard holds, and tells whether it was a table.
export function paste(text, row, column) {
  const table = /\t/.test(text.trim()) || (column === 0 && /^".*"$|[^\n]\n[^\n]/s.test(text.trim()) && /[,;]/.test(text));
  if (!table) return false;
  guard('paste', async () => {
    const { pairs: found, notes } = await engine.ask('read', { Name: 'pasted', Text: text });
    const next = [...pairs.value];
    next.splice(row, found.length, ...found);
    change(next);
    tell('paste', notes?.length ? { kind: 'note', text: notes.map(sentence).join(' ') } : null);
  });
  return true;
}

// A file of which nobody can tell which column is the question: {columns, header, preview, source}.
export const unclear = signal(null);

// openClear opens examples, and asks which column is the question where that is not clear.
export async function openClear(source) {
  unclear.value = null;
  return openData(source, (error) => { unclear.value = { ...error.ambiguous, source }; });
}
