// ProcessPrng for a Wine that has no bcryptprimitives.dll (before 8.11): Go's runtime and wgpu take random bytes from it.
__declspec(dllimport) unsigned char __stdcall SystemFunction036(void *bytes, unsigned long count);

__declspec(dllexport) int __stdcall ProcessPrng(void *bytes, unsigned long long count) {
  return SystemFunction036(bytes, (unsigned long)count);
}
