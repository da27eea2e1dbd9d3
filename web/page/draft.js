// What the user has chosen and written, kept in this browser over a reload and a crash.
import { gallery } from './gallery.js';
import { openAgain } from './hub.js';
import { openData, openKept, setQuestions } from './inputs.js';
import { keep, kept } from './keep.js';
import { absent, base, data, edited, model, questions, run, subject, values } from './state.js';
import { batch, effect } from './ui.js';

const name = 'draft';

// draftNow is what the user has chosen and written so far.
export function draftNow() {
  const { kind, id, folder, revision } = model.value?.source ?? {};
  return { subject: subject.value?.id, base: base.value, values: values.value, questions: questions.value.map(({ text }) => text),
    data: data.value && { kind: data.value.kind, ...data.value.source }, pairs: edited.value?.pairs,
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
    void [subject.value, base.value, values.value, questions.value, data.value, edited.value, model.value, run.value.id];
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
    setQuestions(draft.questions);
  });
  if (draft.run) return draft; // the run has its own examples and model
  if (draft.data) await openData(draft.data);
  if (draft.pairs) edited.value = { pairs: draft.pairs };
  if (draft.model?.kind === 'hub') await openAgain(draft.model);
  if (draft.model?.kind === 'files') await openKept(draft.model.fingerprint, false);
  return draft;
}
