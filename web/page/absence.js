// Whether the page can work here.
import { absent } from './state.js';

async function missing() {
  if (!window.isSecureContext) return 'insecure';
  if (!navigator.gpu) return 'browser';
  if (!(await navigator.gpu.requestAdapter().catch(() => null))) return 'adapter';
  return '';
}

// available says what is missing, and tells whether the page can work.
export async function available() {
  absent.value = await missing();
  return absent.value === '';
}
