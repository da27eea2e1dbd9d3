// The little that every part of the page needs of the document, and how numbers are written.
export const $ = (id) => document.getElementById(id);

// make makes an element: make('p', { class: 'x', text: 'y', on: { click: f } }, child, …).
export function make(tag, { text, on = {}, ...attributes } = {}, ...children) {
  const element = tag === 'svg' || make.svg.has(tag)
    ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== false) element.setAttribute(name,
    value === true ? '' : value);
  if (text !== undefined) element.textContent = text;
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}
make.svg = new Set(['rect', 'circle', 'line', 'polyline', 'text', 'g', 'title']);

// showError writes an error with its way out, or clears the place.
export function showError(id, error) {
  const place = $(id);
  place.hidden = !error;
  place.replaceChildren();
  if (error) {
    place.append(error.message);
    if (error.hint) place.append(make('small', { text: `${error.hint[0].toUpperCase()}${error.hint.slice(1)}.` }));
  }
}

const plain = new Intl.NumberFormat('en');
export const count = (n) => plain.format(Math.round(n));
export const digits = (x, n = 3) => (Number.isFinite(x) ? (x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(1) : x.toPrecision(n)) : '–');

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let at = 0;
  for (; n >= 1024 && at < units.length - 1; at++) n /= 1024;
  return `${n >= 100 || at === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[at]}`;
}

export function many(n) {
  for (const [unit, size] of [['B', 1e9], ['M', 1e6], ['k', 1e3]]) if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  return String(n);
}

export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '';
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

// save offers bytes as a file.
export function save(name, data) {
  const url = URL.createObjectURL(new Blob([data], { type: 'application/zip' }));
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60e3);
}
