package selftest

import (
	"slices"

	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/names"
)

// Identity is a reason why faults cannot be seen in some stages.
type Identity struct {
	faults.Identity
	Pairs bool `json:"pairs"` // only beside another fault, and only where it moves nothing, bit for bit
}

// Identities are the faults that need not be seen: those of the catalogue, and one
// of a pair. A fault that moves more than the tolerance that goldens are judged by
// and goes undetected is a failure whatever this list says.
var Identities = listIdentities()

func listIdentities() []Identity {
	var all []Identity
	for _, x := range faults.Identities() {
		all = append(all, Identity{Identity: x})
	}
	return append(all, Identity{
		Identity: faults.Identity{
			Faults: "*", Stages: "*",
			Reason: "the other fault of the pair left it nothing to change: zeros are what they are in float16",
		},
		Pairs: true,
	})
}

// identity returns the index of the entry that excuses a fault of a run for its
// effect; -1 if none does.
func identity(f faultRun, in injection, e effect) int {
	return slices.IndexFunc(Identities, func(x Identity) bool {
		excused := e == identical || e == within
		if x.Pairs {
			excused = e == identical && len(f) > 1
		}
		return excused && names.Match(x.Faults, in.ID) && names.Match(x.Stages, in.at.Stage)
	})
}
