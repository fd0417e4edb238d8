// Package faults lists the known faults of GPT-2 engines and finds which of them
// explains a wrong stage.
//
// Each [Fault] is a variant of one stage: it computes the output of that stage with
// the fault in it, from the very inputs that the engine under test gave its own
// stage. So [Explain] needs nothing but a dump: where a replay says that
// a stage's own computation is wrong, every variant of that stage is run, and
// the one that gives what the engine gave is the cause. Where none does, the
// error itself is looked at, for a pattern that says where to look.
//
// The faults are listed in catalogue.json, which reference/float64/faults.py reads
// too: it has a variant of each in numpy, to measure how far it moves its stage.
package faults
