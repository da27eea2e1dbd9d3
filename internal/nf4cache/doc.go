// Package nf4cache keeps quantized models on disk: all parts of all sections as they lie on the device, so that the
// next start maps one file and quantizes nothing.
//
// A file is named by the content of the model and by the settings. The content is a hash of every byte of the weights
// (pretrained's Digest): what is cheaper to look at, the headers and both ends of each tensor, stays the same when a
// damaged download is repaired. It costs no more than loading. On the first start, when no file can be meant, it is
// taken while the model is being quantized. After that an index remembers it beside size, time of change and number of
// the weight files, so a start reads none of them; a file that was moved or touched is hashed again, on all cores,
// which is as fast as the disk.
//
// All files of a folder together have a limit: where a new one needs room, those that were not used for longest go, but
// none that a run has mapped.
//
// Not for the browser: there is no file to map.
package nf4cache
