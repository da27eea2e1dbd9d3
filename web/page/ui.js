// What all views are made of: markup in template literals (htm), drawn by Preact, from signals.
export { html, render } from './vendor/htm-preact.js';
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from './vendor/preact-hooks.js';
export { batch, computed, effect, signal, untracked } from './vendor/preact-signals.js';

export const $ = (id) => document.getElementById(id);
