// Package selftest proves what the harness claims, on a synthetic model: that it
// sees every known fault, names the stage it sits in and its cause, and stays
// silent on correct engines.
//
// [Run] plants each fault of the catalogue in a run of the Go model, at several
// layers, at the prompt and at a decode step, alone and together with another
// one; compares and replays each run as the compare command does; and does the
// same with runs that have no fault: those of other engines, other numbers of
// threads, and other orders of summation. What it finds is a [Matrix].
//
// A fault that moves nothing somewhere, or less than rounding does, cannot be
// seen there. Every such case is listed, with its reason, in [Identities]; one
// that is not listed is a failure.
package selftest
