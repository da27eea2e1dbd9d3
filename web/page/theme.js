// The colours: as the system has them, or as chosen here. The choice stays in this browser.
import { computed, effect, signal } from './ui.js';

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');
export const names = { auto: 'Auto', light: 'Light', dark: 'Dark' };

function stored(value) {
  try { // a browser may refuse storage
    if (value) localStorage.setItem('theme', value);
    return localStorage.getItem('theme');
  } catch { return null; }
}

export const choice = signal(names[stored()] ? stored() : 'auto');
const dark = signal(system.matches);
export const theme = computed(() => (choice.value === 'auto' ? (dark.value ? 'dark' : 'light') : choice.value));

export function next() {
  const list = Object.keys(names);
  choice.value = list[(list.indexOf(choice.value) + 1) % list.length];
  stored(choice.value);
}

// colour is a colour of the stylesheet by its name.
export const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

effect(() => { root.dataset.theme = theme.value; });
system.addEventListener('change', () => { dark.value = system.matches; });
