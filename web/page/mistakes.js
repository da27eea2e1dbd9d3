// What in the open examples is probably a mistake, which the engine finds beside what else it does.
import { engine } from './engine.js';
import { base, data, mistakes } from './state.js';
import { computed, effect } from './ui.js';

// followMistakes has examples looked at when they are opened. What was said of others goes at once; of examples that
// are edited here it stays until there is something new to say.
export function followMistakes() {
  const inputs = computed(() => base.value.train_on_inputs === true);
  effect(() => {
    const open = data.value;
    if (open?.kind !== 'edited') mistakes.value = null;
    if (!open) return undefined;
    const asked = engine.ask('mistakes', { Inputs: inputs.value });
    asked.then((found) => { if (data.value === open) mistakes.value = found; }, () => {}); // an engine that is gone is told of elsewhere
    return () => asked.cancel();
  });
}
