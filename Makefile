# Every target installs what it needs. Go 1.21 or newer fetches the version that go.mod asks for.
export GOTOOLCHAIN := auto

# Mistakes, what can be simpler, and dead code; built from its own module, so that go.mod has none of it.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks inherit,-ST*

.PHONY: setup build web gallery windows release demo test test-web test-web-long test-windows test-release test-long \
	test-real test-hub test-gguf test-export test-attack test-peft test-mlx bench-data experiment lint clean

# A C compiler for cgo, and a driver where WebGPU finds no adapter.
setup:
	.ci/install compiler
	$(MAKE) build
	bin/qlora-wgpu devices --json | grep -Eq '"backend": *"(vulkan|metal|d3d12)"' || { .ci/install vulkan && bin/qlora-wgpu devices; }

build:
	.ci/install compiler
	go build -o bin/qlora-wgpu ./cmd/qlora-wgpu

# The page, as a folder for any static host, and in web/built, from where the next build embeds it.
web:
	command -v npm >/dev/null || .ci/install node
	[ -d web/node_modules ] || npm ci --prefix web --no-audit --no-fund
	node web/build.mjs build/web

# What the page offers to teach its embedded model: examples and recorded runs, in web/page/gallery. Minutes on software
# Vulkan.
gallery: setup
	go run ./tools/gallery

# The program for Windows, from any system with mingw-w64.
windows:
	.ci/install mingw
	GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc go build -o build/windows/qlora-wgpu.exe ./cmd/qlora-wgpu

# What people download, in build/release.
release:
	tools/release/release.sh

demo: setup
	bin/qlora-wgpu demo

test: setup lint
	go test -timeout 25m ./...
	go -C tools/roofline test .
	go -C tools/experiment/plot test .

# A read-back from a device that is busy for ten seconds; kernels and training steps in Chromium, whose shader compiler
# is the strict one; then the page, driven as a user does.
test-web:
	tools/web_test/run.sh

# The Windows build by Wine: names of files, files that somebody has open, the console, killed processes, the demo's bytes.
test-windows:
	tools/windows_test/run.sh

# The archives, built twice in two folders, give the same bytes; the programs in them run, that for ARM by qemu.
test-release:
	tools/release/check.sh

# Minutes: a model of 135 M parameters in the page. Wants its GGUF and data in ../shared.
test-web-long:
	tools/web_test/run.sh long

# Hours: every kernel variant, forced in turn, on the 135M parity case (QLORA_TEST_STEPS=1: the first of its ten steps),
# 30 steps of training on it, and every way of paging it. Wants the model and data in ../shared.
test-long: setup
	QLORA_TEST_LONG=1 go test -timeout 8h -v -run 'TestCases|EveryCase|TrainingSmolLM2|EveryCombinationSmolLM2' ./internal/parity ./cmd/qlora-wgpu ./trainer

# A real Qwen2.5-Coder 0.5B, fetched once (491 MB), beside PyTorch and transformers; twenty steps of training.
test-real: setup
	tools/real_test/run.sh

# Hugging Face's own client against the hub of our tests, on one cache with ours; a thousand cut connections; what its
# datasets library writes and finds is read alike.
test-hub: setup
	[ -x build/hub-venv/bin/python ] || python3 -m venv build/hub-venv
	build/hub-venv/bin/pip install --quiet huggingface_hub==2.4.0 datasets==5.2.0 pyarrow==26.0.1
	QLORA_HUB_PYTHON=$(CURDIR)/build/hub-venv/bin/python QLORA_TEST_LONG=1 go test -count=1 -v -timeout 30m ./internal/hub
	QLORA_HUB_PYTHON=$(CURDIR)/build/hub-venv/bin/python go test -count=1 -v -run Python ./internal/dataset

# GGUF files of ours read by the gguf package; quantized bytes beside those of ggml (npm has a build of it).
test-gguf:
	tools/gguf_test/run.sh

# Exported GGUF files in an unmodified llama.cpp (npm has a build of it) and in the gguf package; quarter of an hour.
test-export: setup
	tools/export_test/run.sh

# Most of an hour, and twice SIZE of disk: a data set of so many bytes, prepared twice. Wants a model in ../shared.
SIZE := 10000000000
bench-data:
	go run ./tools/bench_data -model ../shared/models/SmolLM2-135M-Instruct.Q4_1.gguf -size $(SIZE)

# What the QLoRA paper claims, measured on this engine: renews docs/qlora.json and docs/qlora-*.svg; docs/qlora.md says
# what came out. Wants the model and data in ../shared; half an hour of processor time.
experiment: setup
	tools/experiment/run.sh

# Hours: fuzzing, failing file operations, kills and signals, which renew the table in docs/reliability.md.
# TARGET=fuzz-gguf: one line of it.
test-attack: setup
	go run ./tools/attack -table docs/reliability.md $(TARGET)

# The written adapter loaded by Hugging Face PEFT; ids, masks and losses of awkward inputs beside transformers and PEFT.
test-peft: setup
	tools/peft_test/run.sh
	tools/peft_test/run.sh families
	tools/peft_test/run.sh inputs

# Adapters in MLX's and llama.cpp's format: written here and loaded by mlx-lm and gguf-py, and the other way round.
test-mlx: setup
	tools/peft_test/run.sh mlx

# What does not reach the GPU also has to hold on the other systems; all but the command in the browser.
lint:
	unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .) && test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	for os in windows darwin; do GOOS=$$os CGO_ENABLED=0 go vet $$(GOOS=$$os go list -f '{{.ImportPath}} {{.Deps}}' ./... | grep -v 'qlora-wgpu/gpu\b' | cut -d' ' -f1) || exit 1; done
	GOOS=js GOARCH=wasm go build $$(GOOS=js GOARCH=wasm go list -e -f '{{if .GoFiles}}{{.ImportPath}}{{end}}' ./... 2>/dev/null | grep -v '/cmd/\|/examples/\|/tools/\|/demotest')
	GOOS=js GOARCH=wasm go vet ./internal/browser ./web/engine ./web/check
	go run $(STATICCHECK) ./...
	go run -exec 'env GOOS=js GOARCH=wasm' $(STATICCHECK) ./gpu ./internal/browser ./web/engine ./web/check
	find . \( -name .git -o -name node_modules -o -name testdata -o -path ./build -o -path './out*' -o -path './.venv' \
		-o -path './web/built' -o -name 'make_*_fixtures.py' \) -prune -o -type f \
		\( -name '*.go' -o -name '*.wgsl' -o -name '*.js' -o -name '*.mjs' -o -name '*.sh' -o -name '*.py' -o -name '*.md' \) -print0 | \
		LC_ALL=C xargs -0 awk -f tools/long_lines.awk

clean:
	rm -rf bin build out-demo
	find web/built -mindepth 1 ! -name placeholder.txt -delete
