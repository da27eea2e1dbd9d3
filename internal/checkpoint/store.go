package checkpoint

import "io"

// Store is the little that a checkpoint needs of a file system. Names are paths with forward slashes. A name that does
// not exist gives an error that is fs.ErrNotExist.
//
// What makes a save safe: after Sync a file's bytes survive a crash, after SyncDir the names in a folder do, and a
// crash in Rename leaves what was renamed under its old or its new name. Where folders cannot be renamed (the browser),
// Rename may copy, as long as manifest.json comes last.
type Store interface {
	MakeDir(dir string) error               // with its parents, all names synced; no error if it is there
	Create(name string) (Writer, error)     // empty; replaces a file of that name
	Open(name string) (Reader, error)       // for reading
	List(dir string) ([]string, error)      // the names in a folder, in any order
	Rename(from, to string) error           // a folder, to a new name; a file, in the place of another too
	Remove(name string) error               // a file, or a folder with all it holds; no error if it is not there
	SyncDir(dir string) error               //
	Free(dir string) (bytes int64, e error) // room left for new files, -1 where nobody knows
}

// Copier is a Store whose Rename copies folders.
type Copier interface{ CopiesFolders() }

// Linker is a Store of which a name may be a link.
type Linker interface{ IsLink(name string) bool }

// Writer is a file being written.
type Writer interface {
	io.Writer
	Sync() error
	Close() error
}

// Reader is a file opened for reading.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}
