#!/bin/sh
# Tests of the Windows build, by Wine on software Vulkan: a line a check. Installs what is missing where Debian's
# packages can be installed.
#   tools/windows_test/run.sh [NAME]   only the tests whose names contain NAME
set -eu
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=auto
.ci/install wine
make setup web windows

# The adapter that the Windows build has to make too, byte for byte.
linux=build/windows-test
rm -rf $linux
mkdir -p $linux
(cd $linux && ../../bin/qlora-wgpu demo --device "${QLORA_DEVICE:=llvmpipe}" >demo.txt 2>&1) || { cat $linux/demo.txt; exit 1; }
export QLORA_DEVICE QLORA_LINUX_ADAPTER="Z:$PWD/$linux/out-demo/adapter/adapter_model.safetensors"

WINE=$(command -v wine64 || ls /usr/lib/wine/wine64 2>/dev/null || command -v wine)
export WINE WINEPREFIX="$PWD/build/wine" WINEARCH=win64 WINEDEBUG=-all
mkdir -p "$WINEPREFIX"
finish() {
  wineserver -k || true
  rm -rf "$WINEPREFIX"/drive_c/users/*/Temp/qlora-wgpu-test*
}
trap finish EXIT

# Wine's Vulkan offers no adapter without a display. The first start makes the prefix.
xvfb-run -a "$WINE" cmd /c exit
system32="$WINEPREFIX/drive_c/windows/system32"
[ -f "$system32/bcryptprimitives.dll" ] ||
  x86_64-w64-mingw32-gcc -shared -o "$system32/bcryptprimitives.dll" tools/windows_test/bcryptprimitives.c -ladvapi32

GOOS=windows GOARCH=amd64 CGO_ENABLED=0 xvfb-run -a go test -count=1 -timeout 40m -v -run "${1-}" -exec "$WINE" ./tools/windows_test
