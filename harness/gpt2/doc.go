// Package gpt2 binds the harness to GPT-2: its stages, their tolerances, layouts
// and inputs, the recording of the Go model, and the replay of a stage within the
// rounding that a correct engine may show.
package gpt2
