// The colours: as the system has them, or as chosen here. The choice stays in this browser.
const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');
const choices = { auto: 'Auto', light: 'Light', dark: 'Dark' };
const listeners = [];
let choice = 'auto';

function stored(value) {
  try { // a browser may refuse storage
    if (value) localStorage.setItem('theme', value);
    return localStorage.getItem('theme');
  } catch { return null; }
}

function apply() {
  root.dataset.theme = choice === 'auto' ? (system.matches ? 'dark' : 'light') : choice;
  const button = document.getElementById('theme');
  button.textContent = choices[choice];
  button.setAttribute('aria-label', `Colours: ${choices[choice]}`);
  for (const changed of listeners) changed();
}

// onTheme calls changed whenever the colours have changed.
export function onTheme(changed) { listeners.push(changed); }

// colour is a colour of the stylesheet by its name.
export function colour(name) { return getComputedStyle(root).getPropertyValue(`--${name}`).trim(); }

export function startTheme() {
  const names = Object.keys(choices);
  choice = names.includes(stored()) ? stored() : 'auto';
  document.getElementById('theme').addEventListener('click', () => {
    choice = names[(names.indexOf(choice) + 1) % names.length];
    stored(choice);
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}
