// Package faults is the catalogue of the faults that GPT-2 engines are known to
// have, and finds which of them an engine has.
//
// Each [Fault] is a variant of one stage: it computes what that stage would put
// out with the fault in it, from the inputs that the engine under test gave its
// own stage. So [Explain] needs nothing but a dump: where a replay finds a
// stage's own computation wrong, every fault that can sit there is computed, and
// the one that gives what the engine gave is the cause. Where none does, the
// error itself is looked at for a pattern that shows where to look.
//
// catalogue.json lists the faults, for reference/float64/faults.py too, which has
// the same variants in numpy and measures how far each moves its stage.
package faults
