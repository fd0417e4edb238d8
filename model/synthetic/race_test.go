//go:build race

package synthetic

// raceDetector reports whether memory accesses are watched, some ten times slower.
const raceDetector = true
