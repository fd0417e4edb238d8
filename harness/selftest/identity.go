package selftest

import "checkpoint12/harness/internal/names"

// Identity says that faults cannot be seen in some stages, and why.
type Identity struct {
	Faults string `json:"faults"` // a pattern of ids
	Stages string `json:"stages"` // a pattern of stages
	Reason string `json:"reason"`
	Pairs  bool   `json:"pairs"` // only beside another fault, and only where it moves nothing, bit for bit
}

// Identities are the faults that need not be seen: where they move nothing at
// all, or less than the tolerance that goldens are judged by. A fault that moves
// more than that and goes undetected is a failure whatever this list says.
var Identities = []Identity{
	{Faults: "tie_rule", Stages: "next_token", Reason: "no two logits are equal, so every rule chooses alike; shown where head_untied makes every logit 0"},
	{Faults: "temperature_*", Stages: "probs_t1", Reason: "at a temperature of 1 there is nothing to divide by"},
	{Faults: "ln_eps_1e-*", Stages: "h.[!0].ln_1", Reason: "the variance is so far above epsilon that the change is below float32's rounding; shown in h.0.ln_1"},
	{Faults: "ln_eps_1e-*", Stages: "h.*.ln_2", Reason: "as for ln_1 of the later blocks"},
	{Faults: "ln_eps_1e-*", Stages: "ln_f", Reason: "as for ln_1 of the later blocks"},
	{Faults: "*", Stages: "*", Reason: "the other fault of the pair left it nothing to change: zeros are what they are in float16", Pairs: true},
}

// identity is the index of the entry that excuses an injection of a run for what
// became of it; -1 if none does.
func identity(t faultRun, p injection, f effect) int {
	for i, x := range Identities {
		if !names.Match(x.Faults, p.ID) || !names.Match(x.Stages, p.at.Stage) {
			continue
		}
		if f == identical || f == within && !x.Pairs {
			if len(t) > 1 || !x.Pairs {
				return i
			}
		}
	}
	return -1
}
