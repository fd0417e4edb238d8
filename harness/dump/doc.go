// Package dump reads and writes a recording as a folder of .npy files that a
// manifest binds to what made them.
package dump
