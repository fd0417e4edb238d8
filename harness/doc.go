// Package harness tells an engineer whether a model computes what a golden says
// and, if not, at which stage the numbers first go wrong.
//
// A model hands over a [Schedule]: the names of its stages in execution order,
// each with a [Tolerance] and the reason for it. What it computes reaches the
// harness as a [Source]: a [Recorder], whose Tap method fits any Go model that
// calls a function with each stage's live buffer, or a [Dump], a folder of .npy
// files that an engine in any language wrote. [Compare] puts a candidate against
// a golden and gives a [Report], for people ([Report.WriteText]) and as JSON. A
// [View] reads a candidate's tensors of other layouts in the schedule's, and a
// [Mapping] joins an engine's names to stages. The package knows nothing of any
// model; the example is the tutorial.
//
// # Goals
//
//   - The first divergence is the first in execution order, over all steps,
//     never in alphabetical order: h.10 comes after h.9.
//   - A value passes when |got − want| ≤ abs + rel·max|want|, and only then. NaN
//     never passes, an infinity only against the same infinity.
//   - A failure says what is needed to act on it: stage, step, how many of how
//     many, the worst difference and where, both values, the bound and its
//     reason.
//   - Nothing is ignored in silence: what was missing, left out, skipped or not
//     understood is listed.
//
// # Guarantees
//
//   - Comparing nothing is never a pass: it is [ErrNothingCompared].
//   - A dump that was written is whole or absent; a folder that is no dump is
//     never replaced.
//   - A dump with a manifest is read only if every file is there, none is
//     surplus, and every shape, dtype and hash is as the manifest says.
//   - Bad input is an error that names the file, never a panic.
//   - The recorder copies what it was asked to keep and changes nothing; an
//     unwanted stage costs one function call.
//   - Comparing is deterministic, whatever the number of processors.
//
// # Non-goals
//
// The harness does not run models (a Replayer does), does not decide how wide a tolerance ought to
// be, and never writes goldens: they come from engines that are not under test.
package harness
