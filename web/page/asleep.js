// A computer that sleeps, or a browser that freezes the tab, may end the engine without a word. When the page is looked
// at again, it asks whether the engine is still there. (What becomes of a lost device, the engine sees to itself.)
import { engine } from './engine.js';
import { tell } from './messages.js';
import { absent, broken, greeting } from './state.js';

const patience = 30e3; // ms; a slow device compiles for seconds without hearing anything

export function followSleep() {
  let asking = false;
  const ask = async () => {
    if (asking || !greeting.value || broken.value || absent.value || document.visibilityState !== 'visible') return;
    asking = true;
    const timer = setTimeout(() => tell('asleep', { kind: 'warning', text: 'The engine has not answered since this tab was put to sleep',
      hint: 'wait, or start it again: a run goes on from its last checkpoint',
      actions: [{ label: 'Start it again', act: () => location.reload() }] }), patience);
    await engine.ask('alive').catch(() => {}); // an error is told where it ends something
    clearTimeout(timer);
    tell('asleep', null);
    asking = false;
  };
  document.addEventListener('visibilitychange', ask);
  document.addEventListener('resume', ask);
  addEventListener('pageshow', ask);
}
