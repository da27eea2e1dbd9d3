// How numbers are written.
const plain = new Intl.NumberFormat('en');
export const count = (n) => plain.format(Math.round(n));
export const digits = (x, n = 3) => {
  if (!Number.isFinite(x)) return '–';
  return x === 0 ? '0' : Math.abs(x) < 1e-3 ? x.toExponential(1) : x.toPrecision(n);
};
export const plural = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

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

// sentence makes a message one. A name that it begins with stays as it is written.
export const sentence = (text) => {
  if (!text) return '';
  const begin = /^[^\s:]*[./_]/.test(text) ? text : `${text[0].toUpperCase()}${text.slice(1)}`;
  return `${begin}${/[.!?…]$/.test(text) ? '' : '.'}`;
};
