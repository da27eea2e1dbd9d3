// Package datacache keeps on disk what is made of large data sets: the samples that they become, and what was found
// when their files were read. A run then holds a few numbers for each sample and reads the tokens as it comes to them;
// the next start reads neither the rows nor, while size, time and number of the file stay, the file.
//
// Samples are named by a hash of all that decides them: every byte of the data, tokenizer, template, settings, the
// version of the program. A file of them is complete or not there: it is written under another name, synced and
// renamed. Its header says how long it is, its records are checked when it is opened, and each sample when it is read;
// what is damaged is removed and made again. Of two processes that want the same, one waits for the other.
//
// Nothing removes old files: the folder may be deleted whenever no run uses it.
//
// Not for the browser, whose data sets fit into memory.
package datacache
