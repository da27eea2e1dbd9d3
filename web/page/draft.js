// What the user has chosen and written, kept in this browser over a reload and a crash.
import { gallery } from './gallery.js';
import { openAgain } from './hub.js';
import { openData, openKept, setQuestions } from './inputs.js';
import { keep, kept } from './keep.js';
import { absent, base, data, edited, memory, model, questions, run, runs, subject, values } from './state.js';
import { batch, effect } from './ui.js';

const name = 'draft';

// draftNow is what the user has chosen and written so far.
export function draftNow() {
  const { kind, id, folder, revision } = model.value?.source ?? {};
  return { subject: subject.value?.id, base: base.value, values: values.value, memory: memory.value,
    questions: questions.value.map(({ text }) => text), pairs: edited.value?.pairs,
    data: data.value && { kind: data.value.kind, ...data.value.source },
    model: model.value && { kind, id, folder, revision, fingerprint: model.value.fingerprint }, run: run.value.id };
}

// writeDraft keeps it, unless another tab does.
export async function writeDraft() { if (!absent.value) await keep(name, draftNow()); }

// keepDraft writes the draft down whenever it changes.
export function keepDraft() {
  let timer = 0;
  const write = () => {
    clearTimeout(timer);
    writeDraft();
  };
  effect(() => {
    void [subject.value, base.value, values.value, memory.value, questions.value, data.value, edited.value, model.value, run.value.id];
    clearTimeout(timer);
    timer = setTimeout(write, 300);
  });
  document.addEventListener('visibilitychange', () => { if (document.visibilityState === 'hidden') write(); });
}

export const keptDraft = () => kept(name);

// restoreDraft puts back what was kept, and gives it; nothing where there is none.
export async function restoreDraft(draft) {
  if (!draft?.values) return null;
  batch(() => {
    subject.value = gallery.value.find(({ id }) => id === draft.subject) ?? null;
    base.value = draft.base;
    values.value = draft.values;
    memory.value = draft.memory ?? memory.value;
    setQuestions(draft.questions);
  });
  if (runs.value.some(({ id }) => id === draft.run)) return draft; // it has its own examples and model
  if (draft.data && draft.data.kind !== 'run') await openData(draft.data);
  if (draft.pairs) edited.value = { pairs: draft.pairs };
  if (draft.model?.kind === 'hub') await openAgain(draft.model);
  if (draft.model?.kind === 'files') await openKept(draft.model.fingerprint, false);
  return draft;
}

// redo puts what was changed since a run was opened over what it has: the settings of a run that can go on are its own.
export function redo({ values: changed, questions: texts }) {
  const asked = questions.value;
  batch(() => {
    if (run.value.state === 'done') values.value = changed;
    setQuestions(texts);
    questions.value = questions.value.map(({ key, text, ...rest }, i) => {
      const same = asked.find((each) => each.text === text);
      return same ? { ...same, key } : { ...rest, ...asked[i], key, text, old: true };
    });
  });
}
