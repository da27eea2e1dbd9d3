// While a run is under way the screen stays on, the title says how far it is, and who looks elsewhere is told its end.
import { percent } from './pace.js';
import { busy, run } from './state.js';
import { effect, signal } from './ui.js';

const title = document.title;

// mayTell is whether the browser can tell the end, or may be asked to.
export const mayTell = signal('Notification' in globalThis ? Notification.permission : 'denied');
export async function askToTell() { mayTell.value = await Notification.requestPermission(); }

let lock = null;

async function hold() {
  if (!busy.value || document.visibilityState !== 'visible' || lock) return;
  try {
    lock = await navigator.wakeLock?.request('screen');
    lock?.addEventListener('release', () => { lock = null; });
    if (!busy.value) lock?.release();
  } catch { /* a browser with little battery refuses it */ }
}

export function followAwake() {
  effect(() => { document.title = busy.value ? `${percent.value} % – ${title}` : title; });
  effect(() => { if (busy.value) hold(); else lock?.release(); });
  document.addEventListener('visibilitychange', hold);
  let was = false;
  effect(() => {
    const ended = was && !busy.value;
    was = busy.value;
    if (!ended || document.visibilityState === 'visible' || mayTell.value !== 'granted') return;
    const { state, step } = run.value;
    const body = state === 'done' ? 'The training is done.' : `The training stopped after step ${step}.`;
    try { new Notification(title, { body }); } catch { /* some phones have them in service workers alone */ }
  });
}
