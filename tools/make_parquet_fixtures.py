"""Makes internal/dataset/testdata/parquet: one data set as JSON Lines and, by pyarrow and datasets, as Parquet with each
codec, both versions of pages, with and without dictionaries; and internal/parquet/testdata: all types, and their values as JSON.

    pip install pyarrow==26.0.1 datasets==5.2.0
    python tools/make_parquet_fixtures.py
"""
import datetime
import decimal
import json
import pathlib

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

internal = pathlib.Path(__file__).parent.parent / "internal"
folder, types = internal / "dataset/testdata/parquet", internal / "parquet/testdata"
folder.mkdir(parents=True, exist_ok=True)
types.mkdir(exist_ok=True)


def turn(role, content, thoughts=None):
    return {"role": role, "content": content, "reasoning_content": thoughts}


rows = []
for i in range(24):
    turns = [turn("system", "Du antwortest knapp. 简短回答。")] if i % 3 == 0 else []
    for k in range(1 + i % 3):
        turns.append(turn("user", f"What is {i} plus {k}? " + "and " * (i % 5)))
        turns.append(turn("assistant", f"{i + k} \u2014 \u00fc\u00f1\u0131\u0107\u00f6d\u00e9", "count" if k == 1 else None))
    rows.append({"messages": turns if i != 7 else None, "source": ["web", "book", None][i % 3], "score": i / 8})

with open(folder / "messages.jsonl", "w", encoding="utf-8") as out:
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")

table = pa.Table.from_pylist(rows)
for name, options in {
    "none": dict(compression="none", use_dictionary=False),
    "snappy": dict(compression="snappy"),
    "gzip": dict(compression="gzip", data_page_version="2.0"),
    "brotli": dict(compression="brotli"),
    "zstd": dict(compression="zstd", data_page_version="2.0", use_dictionary=False),
    "lz4": dict(compression="lz4"),
    "pages": dict(compression="zstd", data_page_size=64, write_batch_size=4, row_group_size=9, use_dictionary=False),
    "lengths": dict(compression="zstd", use_dictionary=False,
                    column_encoding={"messages.list.element.role": "DELTA_LENGTH_BYTE_ARRAY",
                                     "messages.list.element.content": "DELTA_LENGTH_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT"}),
}.items():
    pq.write_table(table, folder / f"{name}.parquet", **options)
empty = internal / "dataset/testdata/parquet_empty"
empty.mkdir(exist_ok=True)
pq.write_table(table.slice(0, 0), empty / "empty.parquet")
datasets.Dataset.from_list(rows).to_parquet(folder / "datasets.parquet")

utc = datetime.timezone.utc
kinds = [
    ("bool", pa.bool_(), [True, False]), ("int8", pa.int8(), [-128, 127]), ("uint8", pa.uint8(), [0, 255]),
    ("int32", pa.int32(), [-2**31, 7]), ("uint32", pa.uint32(), [0, 2**32 - 1]), ("int64", pa.int64(), [-2**63, 2**63 - 1]),
    ("uint64", pa.uint64(), [0, 2**64 - 1]), ("float16", pa.float16(), [0.5, -2.0]), ("float", pa.float32(), [0.25, -1e6]),
    ("double", pa.float64(), [0.1, float("nan")]), ("string", pa.string(), ["", "\u00e4\"\\\n"]),
    ("large_string", pa.large_string(), ["a", "b"]), ("binary", pa.binary(), [b"text", b"\xff\xfe"]),
    ("fixed", pa.binary(3), [b"abc", b"\x00\x01\x02"]), ("date", pa.date32(), [datetime.date(2024, 2, 29), datetime.date(1969, 12, 31)]),
    ("time", pa.time64("us"), [datetime.time(1, 2, 3, 4), datetime.time(0, 0)]),
    ("seconds", pa.timestamp("ms"), [datetime.datetime(2024, 2, 29, 12, 30), datetime.datetime(1969, 12, 31, 23, 59, 59)]),
    ("moment", pa.timestamp("us", tz="UTC"), [datetime.datetime(2024, 2, 29, 12, 30, 0, 5, utc), datetime.datetime(1900, 1, 1, tzinfo=utc)]),
    ("nanos", pa.timestamp("ns"), [datetime.datetime(2024, 2, 29, 12, 30, 0, 250000), datetime.datetime(2000, 1, 1)]),
    ("decimal", pa.decimal128(9, 2), [decimal.Decimal("-0.05"), decimal.Decimal("1234567.89")]),
    ("large_decimal", pa.decimal128(38, 10), [decimal.Decimal("-12345678901234567890.0123456789"), decimal.Decimal("1.0000000000")]),
    ("list", pa.list_(pa.int64()), [[1, 2], []]), ("lists", pa.list_(pa.list_(pa.string())), [[["a"], [], None], [["b", None]]]),
    ("struct", pa.struct([("a", pa.int64()), ("b", pa.struct([("c", pa.string())]))]), [{"a": 1, "b": {"c": "x"}}, {"a": None, "b": None}]),
    ("structs", pa.list_(pa.struct([("a", pa.int64()), ("l", pa.list_(pa.string()))])), [[{"a": 1, "l": ["x", "y"]}, {"a": 2, "l": []}], [None]]),
    ("map", pa.map_(pa.string(), pa.int64()), [{"a": 1, "b": None}, {}]),
    ("of_lists", pa.map_(pa.int64(), pa.list_(pa.string())), [{5: ["x"], 6: []}, {7: None}]),
    ("nothing", pa.null(), [None, None]), ("enum", pa.dictionary(pa.int32(), pa.string()), ["x", "y"]),
]


def plain(value):
    """The value as JSON of ours has it."""
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, bytes):
        try:
            return value.decode() if value != b"abc" and value != b"\x00\x01\x02" else {"bytes": 3}
        except UnicodeDecodeError:
            return {"bytes": len(value)}
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + ("Z" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


columns = {name: pa.array(values + [None], kind) for name, kind, values in kinds}
pq.write_table(pa.table(columns), types / "types.parquet", compression="zstd")
with open(types / "types.json", "w", encoding="utf-8") as out:
    json.dump({name: [plain(v) for v in values + [None]] for name, _, values in kinds}, out, ensure_ascii=False, indent=1)
    out.write("\n")
