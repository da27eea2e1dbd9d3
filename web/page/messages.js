// The one place where the page says what went wrong and what to do. A message has a topic, which it replaces: the same
// thing is never said twice.
import { sentence } from './format.js';
import { html, signal } from './ui.js';

const messages = signal(new Map());

// tell shows a message of a topic: {kind: error, warning or note, text, hint, actions: [{label, act}]}. null takes it
// back. An effect that tells something does not depend on what else is told.
export function tell(topic, message) {
  if (!message && !messages.peek().has(topic)) return;
  const next = new Map(messages.peek());
  next.delete(topic);
  if (message) next.set(topic, { kind: 'error', ...message });
  messages.value = next;
  if (message && (message.kind ?? 'error') === 'error') requestAnimationFrame(() => bringIntoSight(topic));
}

// bringIntoSight scrolls to an error that is out of sight, unless the user is writing.
function bringIntoSight(topic) {
  const place = document.querySelector(`[data-topic="${CSS.escape(topic)}"]`)?.getBoundingClientRect();
  const writing = document.activeElement?.matches('input, textarea, select');
  const away = place && (place.bottom < 0 || place.top > innerHeight);
  if (away && !writing) document.getElementById('messages').scrollIntoView({ block: 'center' });
}

// tellError shows what was thrown. A wish of the user's own is no error.
export function tellError(topic, error, actions = []) {
  if (error?.cancelled || error?.name === 'AbortError') return;
  tell(topic, error && { text: error.message, hint: error.hint, actions });
}

// guard shows what goes wrong under a topic, and then gives nothing.
export async function guard(topic, work, actions) {
  tell(topic, null);
  try {
    return await work();
  } catch (error) {
    tellError(topic, error, actions);
    return undefined;
  }
}

const rank = ['error', 'warning', 'note'];
const lasting = ['engine', 'begin', 'plan']; // they say why nothing can start, for as long as it is so

function dismiss(topic) {
  tell(topic, null);
  document.getElementById('stage').focus({ preventScroll: true }); // the button that had it is gone
}

export function Messages() {
  const list = [...messages.value].sort(([, a], [, b]) => rank.indexOf(a.kind) - rank.indexOf(b.kind));
  return html`<div id="messages" class="messages" aria-live="polite">${list.map(([topic, { kind, text, hint, actions = [] }]) => html`
    <div key=${topic} class="message ${kind}" data-topic=${topic} role=${kind === 'error' ? 'alert' : undefined}>
      <p>${sentence(text)}</p>
      ${hint && html`<p class="way">${sentence(hint)}</p>`}
      <div class="buttons">
        ${actions.map(({ label, act }) => html`<button type="button" class="quiet" onClick=${() => act()}>${label}</button>`)}
        ${!lasting.includes(topic) && html`<button type="button" class="quiet plain" onClick=${() => dismiss(topic)}>Dismiss</button>`}
      </div>
    </div>`)}</div>`;
}
