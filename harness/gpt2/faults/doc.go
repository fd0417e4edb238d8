// Package faults is the catalogue of mistakes that GPT-2 engines are known to
// make, and what finds out which of them an engine has made.
//
// Each [Fault] is a variant of one stage: it computes what that stage would give
// if the mistake were made, from the very inputs that the engine under test gave
// its own stage. So [Explain] needs nothing but a dump: where a replay says that
// a stage's own computation is wrong, every variant of that stage is run, and
// the one that gives what the engine gave is the cause. Where none does, the
// error itself is looked at, for a pattern that says where to look.
//
// The ids are those of reference/float64/faults.py, which has the same catalogue
// in numpy and measures how far each fault moves its stage.
package faults
