"""Makes internal/gguf/testdata: GGUF files with a tensor of every type that is read, and the same tensors as float32.

    pip install gguf==0.19.0 numpy
    python tools/make_gguf_fixtures.py

The blocks are random bytes, so that every code, scale and sign occurs. In types.gguf their float16 scales are finite; in
extremes.gguf each row is a block with one of EXTREMES, zeros, subnormal, infinite and undefined ones among them. NAME.float32 is
the concatenation of all tensors in file order, dequantized by the gguf package.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

ROWS, COLS = 2, 512
SCALES = {  # byte offsets of float16 fields in a block
    "F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0], "MXFP4": [],
}
# +0, -0, the smallest and largest subnormal, a negative one, the smallest normal, the largest of both signs, infinities, a NaN
EXTREMES = [0x0000, 0x8000, 0x0001, 0x03FF, 0x8155, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
EXPONENTS = [0, 1, 2, 3, 64, 126, 127, 128, 253, 254, 255]  # of MXFP4's blocks


def main():
    out = pathlib.Path(__file__).parent.parent / "internal" / "gguf" / "testdata"
    out.mkdir(exist_ok=True)
    rng = np.random.default_rng(4)
    writer = GGUFWriter(out / "types.gguf", "llama")
    writer.add_custom_alignment(64)
    for kind, value in {"uint8": 200, "int8": -3, "uint16": 60000, "int16": -300, "uint32": 4000000000, "int32": -70000,
                        "uint64": 1 << 40, "int64": -(1 << 40), "float32": 0.1, "float64": 0.1}.items():
        getattr(writer, f"add_{kind}")(f"test.{kind}", value)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "grüße")
    writer.add_array("test.strings", ["a", "", "ĠÑ"])
    writer.add_key_value("test.int16s", [-1, 2, 300], GGUFValueType.ARRAY, sub_type=GGUFValueType.INT16)
    expected = []
    for name in ["F32", "BF16", *SCALES]:
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        if name in ("F32", "BF16"):
            x = rng.standard_normal((ROWS, COLS), dtype=np.float32)
            data = x.view(np.uint8) if name == "F32" else (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        else:
            b = rng.integers(0, 256, (ROWS * COLS // elements, size), dtype=np.uint8)
            for at in SCALES[name]:
                infinite = b[:, at + 1] & 0x7C == 0x7C
                b[infinite, at + 1] ^= 0x40
            data = b.reshape(ROWS, -1)
        x = dequantize(data, kind)
        assert x.shape == (ROWS, COLS) and np.isfinite(x).all(), name
        add(writer, expected, name, data, x)
    finish(writer, out / "types.float32", expected)
    extremes(out)


def extremes(out):
    rng = np.random.default_rng(5)
    writer = GGUFWriter(out / "extremes.gguf", "llama")
    expected = []
    for name, scales in SCALES.items():
        kind = GGMLQuantizationType[name]
        _, size = GGML_QUANT_SIZES[kind]
        data = rng.integers(0, 256, (len(EXTREMES), size), dtype=np.uint8)
        for i, at in enumerate(scales):
            data[:, at : at + 2] = np.roll(np.array(EXTREMES, "<u2"), 3 * i).view(np.uint8).reshape(-1, 2)
        if name == "MXFP4":
            data[:, 0] = EXPONENTS
        with np.errstate(all="ignore"):
            add(writer, expected, name, data, dequantize(data, kind))
    finish(writer, out / "extremes.float32", expected)


def add(writer, expected, name, data, x):
    expected.append(x.astype("<f4").tobytes())
    writer.add_tensor(f"tensor.{name}", data, raw_dtype=GGMLQuantizationType[name])


def finish(writer, path, expected):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.write_bytes(b"".join(expected))


if __name__ == "__main__":
    main()
