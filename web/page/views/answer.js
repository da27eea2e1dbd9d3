// A question, and in one cell what the model answers: before, now, and after. Words that changed are marked.
import { absent, busy, questions } from '../state.js';
import { html } from '../ui.js';

// changed splits an answer into words, each with whether the other answer lacks it at its place: a longest common
// subsequence of words.
export function changed(before, now) {
  const a = before.split(/\s+/).filter(Boolean), b = now.split(/(\s+)/).filter(Boolean);
  const words = b.filter((word) => word.trim());
  const common = Array.from({ length: a.length + 1 }, () => new Array(words.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = words.length - 1; j >= 0; j--) {
      common[i][j] = a[i] === words[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const same = new Set();
  for (let i = 0, j = 0; i < a.length && j < words.length;) {
    if (a[i] === words[j]) { same.add(j++); i++; } else if (common[i + 1][j] >= common[i][j + 1]) i++; else j++;
  }
  let at = -1;
  return b.map((text) => (text.trim() ? { text, changed: !same.has(++at) } : { text, changed: false }));
}

export function Answer({ entry, at }) {
  const { key, text, before, now, step, last, old } = entry;
  const edit = ({ target }) => {
    questions.value = questions.value.map((each) => (each.key === key ? { ...each, text: target.value, old: true } : each));
  };
  return html`<div class="answer ${old ? 'old' : ''}" role="listitem">
    <textarea rows="1" dir="auto" class="question" aria-label=${`Question ${at + 1}`}
      disabled=${busy.value || absent.value !== ''} value=${text} onInput=${edit} />
    ${before && html`<p class="before" dir="auto"><span class="when">before</span> <span class="said">${before}</span></p>`}
    ${now && html`<p class="now ${last ? 'after' : ''}" dir="auto" title=${`after step ${step}`}>
      <span class="when">${last ? 'after' : `step ${step}`}</span> <span class="said">${changed(before, now).map((word) =>
        (word.changed ? html`<mark>${word.text}</mark>` : word.text))}</span></p>`}
    ${!before && !now && html`<p class="before"><span class="when">before</span> <span class="said">–</span></p>`}
  </div>`;
}
