// Package verify runs the twelve checkpoints of the Go model against goldens and
// published figures.
//
// [Open] finds a model and its goldens; [Suite.Check] runs one checkpoint and
// returns findings as values, so that a test is a loop over them; [Suite.Verify]
// runs all twelve and returns a report. A divergence is a finding, and the report's
// verdict, never an error. An error means that a checkpoint could not be run: bad
// input, no weights, a golden that is damaged or bound to other weights.
package verify
