// Package verify runs the twelve checkpoints of the Go model against goldens and
// published figures.
//
// [Open] finds a model and its goldens; [Suite.Check] runs one checkpoint and
// returns findings as values, so that a test is a loop over them; [Suite.Verify]
// runs all twelve and returns a report. An error always means that something
// could not be said: bad input, a golden that is damaged or bound to other
// weights, no weights. A divergence is never an error; it is a finding, and the
// report's verdict.
package verify
