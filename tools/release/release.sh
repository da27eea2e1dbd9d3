#!/bin/sh
# Builds what people download, into build/release: archives for linux/amd64, linux/arm64 and windows/amd64, and
# SHA256SUMS. The same commit, Go and compilers give the same bytes, wherever the folder lies: docs/releasing.md.
set -eu
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=auto GOFLAGS=-buildvcs=false LC_ALL=C TZ=UTC
.ci/install compiler mingw arm64 zip

version=$(git describe --tags --match 'v*' --always --dirty)
commit=$(git rev-parse HEAD)
committed=$(git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ)
epoch=$(git log -1 --format=%ct)
out=build/release
rm -rf $out
mkdir -p $out

make web

# licences SYSTEM: of everything that is linked into the program.
licences() {
  echo "qlora-wgpu is under the Apache License 2.0: the file LICENSE. So is, of the two that it offers, wgpu-native"
  echo "(https://github.com/gfx-rs/wgpu-native, copyright the gfx-rs developers), the WebGPU library that is linked into it."
  echo "The page that it serves has its own licences.txt. It holds these Go packages:"
  printf '\n\n== Go ==\n\n'
  cat "$(go env GOROOT)/LICENSE"
  module='{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}'
  GOOS=${1%/*} GOARCH=${1#*/} CGO_ENABLED=1 go list -deps -f "$module" ./cmd/qlora-wgpu | sort -u >$out/modules.txt
  while read -r path number dir; do
    printf '\n\n== %s %s ==\n\n' "$path" "$number"
    found=$(find "$dir" -maxdepth 1 -iname 'LICEN[CS]E*' -o -maxdepth 1 -iname 'COPYING*' -o -maxdepth 1 -iname 'NOTICE*' | sort)
    [ -n "$found" ] || { echo "$path has no licence" >&2; exit 1; }
    for file in $found; do cat "$file"; done
  done <$out/modules.txt
  rm $out/modules.txt
}

# release SYSTEM CC: an archive whose folder holds the program with what belongs to it.
release() {
  system=$1
  name=qlora-wgpu-$version-$(echo "$system" | tr / -)
  program=qlora-wgpu
  case $system in windows/*) program=qlora-wgpu.exe ;; esac
  mkdir -p "$out/$name"
  echo "building $name"
  GOOS=${system%/*} GOARCH=${system#*/} CGO_ENABLED=1 CC=$2 \
    go build -trimpath -o "$out/$name/$program" -ldflags "-s -w -buildid= -extldflags=-Wl,--build-id=none \
      -X qlora-wgpu/internal/version.release=$version -X qlora-wgpu/internal/version.commit=$commit \
      -X qlora-wgpu/internal/version.committed=$committed" ./cmd/qlora-wgpu
  cp README.md LICENSE "$out/$name"
  cp -R docs "$out/$name/docs"
  licences "$system" >"$out/$name/licences.txt"
  find "$out/$name" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
  chmod 755 "$out/$name/$program"
  find "$out/$name" -exec touch -d "@$epoch" {} +
  case $system in
    windows/*) (cd $out && find "$name" -type f | sort | zip -q -X -@ "$name.zip") ;;
    *)
      tar -C $out --sort=name --format=ustar --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -cf $out/archive.tar "$name"
      gzip -n -9 <$out/archive.tar >"$out/$name.tar.gz"
      rm $out/archive.tar ;;
  esac
}

release linux/amd64 "${CC_LINUX_AMD64:-gcc}"
release linux/arm64 aarch64-linux-gnu-gcc
release windows/amd64 x86_64-w64-mingw32-gcc
(cd $out && sha256sum -- *.tar.gz *.zip >SHA256SUMS && cat SHA256SUMS)
