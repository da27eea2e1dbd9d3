package dataset

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"qlora-wgpu/internal/usererr"
)

// sampleBytes of a file's start decide what it is.
const sampleBytes = 64 << 10

// Ways out for who brings something else than rows.
const (
	asCSV  = `save the table as "CSV UTF-8", or as tab-separated text, and take that file`
	asText = "save its text as a .txt file, or questions and answers as a table in a CSV file"
	unpack = "unpack it and take the file within"
	asJSON = "the program reads it unpacked, from a path of its own; here convert it to JSON Lines"
	noData = "a data set is JSON, JSON Lines, CSV, TSV or plain text"
)

// A kind is a kind of file that people pass by mistake: told by its first bytes, or by its name.
type kind struct {
	name       string
	start      string // empty: the name alone tells
	within     string // what is to be among the bytes at the start, empty: nothing
	extensions []string
	hint       string
}

// A zip file is what is in it, so the last of these comes behind the others.
var kinds = []kind{
	{"an Excel workbook", "PK\x03\x04", "xl/", []string{".xlsx", ".xlsm", ".xlsb"}, asCSV},
	{"a Word document", "PK\x03\x04", "word/", []string{".docx"}, asText},
	{"slides", "PK\x03\x04", "ppt/", []string{".pptx"}, asText},
	{"an OpenDocument table", "PK\x03\x04", "opendocument.spreadsheet", []string{".ods"}, asCSV},
	{"an OpenDocument text", "PK\x03\x04", "opendocument.text", []string{".odt"}, asText},
	{"an Apple document", "PK\x03\x04", ".iwa", []string{".numbers", ".pages", ".key"}, asCSV},
	{"an old Excel workbook", "\xd0\xcf\x11\xe0", "W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00", []string{".xls"}, asCSV},
	{"an old Office document", "\xd0\xcf\x11\xe0", "", []string{".doc", ".ppt"}, asText},
	{"a PDF file", "%PDF-", "", []string{".pdf"}, asText},
	{"a document in RTF", `{\rtf`, "", []string{".rtf"}, asText},
	{"a Parquet file", "PAR1", "", []string{".parquet"}, asJSON},
	{"an Arrow file", "ARROW1\x00\x00", "", []string{".arrow", ".feather"}, "convert it to JSON Lines"},
	{"a database", "SQLite format 3\x00", "", []string{".sqlite", ".sqlite3", ".db"}, "export the table as CSV"},
	{"a model", "GGUF", "\x00", []string{".gguf"}, "it belongs to the model; " + noData},
	{"a model", "", "", []string{".safetensors", ".pt", ".pth"}, "it belongs to the model; " + noData},
	{"a picture", "\x89PNG\r\n", "", []string{".png"}, noData},
	{"a picture", "\xff\xd8\xff", "", []string{".jpg", ".jpeg"}, noData},
	{"a picture", "GIF8", "\x00", []string{".gif"}, noData},
	{"a picture, a sound or a film", "RIFF", "\x00", []string{".webp", ".wav", ".avi"}, noData},
	{"a sound or a film", "", "", []string{".mp3", ".mp4", ".mov", ".ogg"}, noData},
	{"a pointer of Git LFS", usererr.LFSStart, "", nil, usererr.FetchLFS},
	{"a compressed file", "\x1f\x8b", "", []string{".gz", ".tgz"}, unpack},
	{"a compressed file", "\x28\xb5\x2f\xfd", "", []string{".zst"}, unpack},
	{"a compressed file", "\xfd7zXZ\x00", "", []string{".xz"}, unpack},
	{"a compressed file", "7z\xbc\xaf\x27\x1c", "", []string{".7z"}, unpack},
	{"a compressed file", "Rar!\x1a\x07", "", []string{".rar"}, unpack},
	{"a compressed file", "BZh", "1AY&SY", []string{".bz2"}, unpack},
	{"a compressed file", "PK\x03\x04", "", []string{".zip"}, unpack},
}

// openText refuses what is no text and gives the rest as UTF-8 without a byte order mark, with its first bytes, which
// are all of it where whole is true.
func (b *builder) openText(r io.Reader) (in *bufio.Reader, start []byte, whole bool, err error) {
	path := b.source.Path
	extension := extensionOf(path)
	in = bufio.NewReaderSize(r, sampleBytes)
	peek := func() error {
		var err error
		start, err = in.Peek(sampleBytes)
		if whole = err == io.EOF; err != nil && !whole {
			return usererr.New(readOp, path, "%w", err)
		}
		return nil
	}
	if err := peek(); err != nil {
		return nil, nil, false, err
	}
	if k := kindOf(start, extension); k != nil {
		return nil, nil, false, usererr.New(readOp, path, "%s", k.name).Of(usererr.Unsupported).Hinted("%s", k.hint)
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, _ = in.Discard(3) // they have been looked at
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		text, err := b.fromUTF16(in)
		if err != nil {
			return nil, nil, false, err
		}
		in = bufio.NewReaderSize(bytes.NewReader(text), sampleBytes)
	case binary(start):
		return nil, nil, false, usererr.New(readOp, path, "no text: it has bytes that no text has").Of(usererr.Unsupported).
			Hinted("%s, in UTF-8", noData)
	case !isText(extension) && isHTML(start):
		return nil, nil, false, usererr.New(readOp, path, "a web page").Of(usererr.Unsupported).
			Hinted("download the file itself, not the page that shows it")
	}
	err = peek()
	return in, start, whole, err
}

func kindOf(start []byte, extension string) *kind {
	named := func(k kind) bool { return slices.Contains(k.extensions, extension) }
	begins := func(k kind) bool { return k.start != "" && bytes.HasPrefix(start, []byte(k.start)) }
	for _, holds := range []func(kind) bool{
		func(k kind) bool { return begins(k) && k.within != "" && bytes.Contains(start, []byte(k.within)) },
		func(k kind) bool { return begins(k) && named(k) },
		func(k kind) bool { return begins(k) && k.within == "" },
		func(k kind) bool { return named(k) && len(start) > 0 && !looksLikeJSON(start) },
	} {
		if i := slices.IndexFunc(kinds, holds); i >= 0 {
			return &kinds[i]
		}
	}
	return nil
}

// binary tells bytes of which many are 0 (UTF-16 without a mark among them), or some where it is no UTF-8 either.
func binary(start []byte) bool {
	zeros := bytes.Count(start, []byte{0})
	for n := 0; n < utf8.UTFMax-1 && len(start) > 0 && !utf8.Valid(start); n++ {
		start = start[:len(start)-1] // a character that the end of the sample cuts
	}
	return zeros*10 > len(start) || zeros > 0 && !utf8.Valid(start)
}

func isHTML(start []byte) bool {
	start = bytes.ToLower(bytes.TrimSpace(start[:min(len(start), 512)]))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// fromUTF16 reads all of a text in UTF-16 with a byte order mark, as Excel's "Unicode text" is.
func (b *builder) fromUTF16(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxTextBytes+1))
	if err != nil {
		return nil, usererr.New(readOp, b.source.Path, "%w", err)
	}
	if len(data) > maxTextBytes {
		return nil, usererr.New(readOp, b.source.Path, "a text in UTF-16 longer than %d MiB", maxTextBytes>>20).Of(usererr.Unsupported).
			Hinted("save the file as UTF-8")
	}
	text, err := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Bytes(data)
	if err != nil {
		return nil, usererr.New(readOp, b.source.Path, "%w", err).Of(usererr.Format)
	}
	if at := bytes.Index(text, []byte("\ufffd")); at >= 0 {
		return nil, usererr.New(readOp, b.source.Path, "damaged UTF-16, or a character that an earlier program could not read").
			Of(usererr.Format).At("line %d", 1+bytes.Count(text[:at], []byte("\n"))).Hinted("save the file as UTF-8")
	}
	b.source.Notes = append(b.source.Notes, "UTF-16 was read as UTF-8")
	return text, nil
}
