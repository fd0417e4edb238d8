// Package harness records what a model computes, stage by stage, compares it with
// a golden and names the first stage that differs.
//
// This package knows nothing of any model. To hook one you need, as in the example:
//
//   - its stages in execution order: [MustSchedule] makes a [Schedule] of them, each
//     [Stage] with a [Tolerance] and the reason for it
//   - what it computes: a [Recorder] from [NewRecorder] with [RecorderOptions]; give
//     its Step, Tap and SetTokens methods each step, each stage's live buffer, and
//     the ids
//   - what it should compute: another [Source], such as a folder of .npy files, which
//     package dump opens
//   - the verdict: [Check] fails a test with the first stage that differs; [Compare]
//     with [CompareOptions] returns the [Report], a [Row] for each stage and step
//
// A step has [Tensor] values by stage. The other names serve the packages beside this
// one: package replay computes stages anew from a candidate's own inputs, package
// diagnose puts comparison and replay together, package report writes the result.
//
// # Guarantees
//
//   - The first divergence is the first in execution order, over all steps,
//     never in alphabetical order: h.10 comes after h.9.
//   - A value passes when |got − want| ≤ abs + rel·max|want|, and only then. NaN
//     never passes, an infinity only against the same infinity.
//   - Comparing nothing is never a pass: it is [ErrNothingCompared]. What was
//     missing, left out, skipped or not understood is listed.
//   - A dump is written whole or not at all; a folder that is no dump is never
//     replaced.
//   - A dump with a manifest is read only if every file is there, none is
//     surplus, and every shape, dtype and hash is the manifest's.
//     A golden's manifest also says of each stage that is not there why it is not.
//   - Bad input is an error that names the file, never a panic.
//   - The recorder copies what it was asked to keep and changes nothing; an
//     unwanted stage costs one function call.
//   - Comparing is deterministic, whatever the number of processors.
//
// # Non-goals
//
// The harness runs no model, does not choose tolerances, and never writes goldens:
// they come from engines that are not under test.
//
// # Glossary
//
//   - stage: one named result of a model's step, such as h.0.ln_1
//   - step: one call of the engine, which feeds one or more tokens
//   - cut: which positions each step of a run feeds
//   - place: a stage of a step
//   - padding: what fills up the rows of a batch that are shorter than others
//   - mask: which ids of a batch are tokens and which padding
//   - column: a token's place in a row of a batch, padding counted; its position counts
//     tokens alone
//   - dump: a folder of a run's tensors, with or without a manifest
//   - golden: a dump of an independent engine, bound by its manifest to what made it
//   - candidate: the recording or dump that is judged
//   - tolerance: how far candidate and golden may be apart at a stage
//   - correct: as the model is defined, up to rounding; of an engine, a stage or a value
//   - rounding bound: how far a correct engine's rounding may move a value of a
//     stage that is replayed
//   - replay: to recompute a stage from the candidate's own inputs
//   - introduced: the stage's own computation is wrong; a replay does not give it
//   - inherited: outside the tolerance, but correct for its inputs
//   - span: stages that are replayed as one, because the candidate lacks what lies
//     between them
//   - accepted: wrong as a rule of Bounds says, with its reason, or inherited from that
//     alone, and so passed over in the verdict
//   - fault: a way to compute a stage wrong; the catalogue lists the known ones
//   - quorum: the goldens of several engines of one case, compared with each other
//   - certified: of a chosen token, such that no rounding could have changed it
package harness
