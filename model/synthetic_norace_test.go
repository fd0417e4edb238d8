//go:build !race

package model

// raceDetector says whether memory accesses are watched, some ten times slower.
const raceDetector = false
