// A link to what is open, for somebody else.
import { settle } from '../inputs.js';
import { tellError } from '../messages.js';
import { make } from '../share.js';
import { data, edited, greeting, questions, values } from '../state.js';
import { computed, effect, html, signal, useEffect, useRef } from '../ui.js';

const made = signal(null); // {url, says, copied}

const refused = 'This browser did not let the page copy it: copy it here.';

async function share() {
  tellError('share', null);
  try {
    await settle(); // an edit that is read only now would take the link back at once
    const link = await make();
    const copied = await navigator.clipboard.writeText(link.url).then(() => true, () => false);
    made.value = { ...link, copied };
  } catch (error) {
    tellError('share', error);
  }
}

// A link is of what was open when it was made. Answers are no part of it.
const asked = computed(() => questions.value.map(({ text }) => text).join('\n'));
effect(() => {
  void [data.value, edited.value, asked.value, values.value];
  made.value = null;
});

export function Share() {
  const link = made.value, field = useRef(null);
  useEffect(() => {
    if (link && !link.copied) field.current.select(); // to be copied by hand
  }, [link]);
  return html`<section class="card" aria-labelledby="link-title">
    <h2 id="link-title">Share this</h2>
    <p class="hint">A link with these examples, questions and settings. They are in the link itself; no server gets them.</p>
    <p class="buttons"><button type="button" class="quiet" id="copy-link" disabled=${!greeting.value || !(data.value || edited.value)}
      onClick=${share}>Copy a link</button></p>
    <p role="status" id="link-says" class=${link ? '' : 'sr'}>${link && `${link.copied ? 'Copied.' : refused} ${link.says}`}</p>
    ${link && html`<label class="sr" for="link-text">The link</label>
      <input id="link-text" type="text" readonly ref=${field} value=${link.url} onFocus=${({ target }) => target.select()} />`}
  </section>`;
}
