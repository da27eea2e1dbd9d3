// Package files opens the files that a user or a run names. What is read is a regular file, after links were followed
// (Hugging Face's cache is made of them): a pipe would wait for its other end, and a device never ends. What is written
// follows no link: a folder may come from somebody else. Not for the browser, which has no such files.
package files
