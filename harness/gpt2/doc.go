// Package gpt2 is GPT-2's twelve checkpoints: the schedule of its stages with a
// tolerance and a reason for each, the recording of the Go model's stages, and
// the checks that put that recording against goldens of other engines.
//
// It is the only package that knows both the model and the harness. [Schedule]
// is what any comparison of two GPT-2 dumps needs. [Record] runs the Go model
// and keeps its stages. [Open] finds a model and its goldens; [Suite.Check] runs
// one checkpoint and returns findings as values, so that a test is a loop over
// them; [Verify] runs all twelve and returns a report.
//
// [Diagnose] compares any two dumps and replays the candidate's stages with the
// Go model's stage functions, within bounds on rounding that are derived for each
// stage (replay_bound.go). [SingleStep] does the reverse: it forces a golden's
// values on the Go model, to name the stages of the model that are wrong.
//
// An error from this package always means that something could not be said: bad
// input, a golden that is damaged or bound to other weights, no weights. A
// divergence is never an error; it is a finding, and the report's verdict.
package gpt2
