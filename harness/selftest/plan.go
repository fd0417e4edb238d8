package selftest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"checkpoint12/harness"
	"checkpoint12/harness/diagnose"
	"checkpoint12/harness/gpt2"
	"checkpoint12/harness/gpt2/faults"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/selftest/naive"
	"checkpoint12/model"
)

// An injection is one fault at one place.
type injection struct {
	faults.Fault
	at harness.Place
}

// kind is the stage's name with * for the layer or the temperature.
func (in injection) kind() string {
	s, _ := model.ParseStage(in.at.Stage)
	return s.Kind()
}

// A trial is a run of a case with one fault or two, or of a correct engine.
type trial struct {
	name    string // of the case
	planted []injection
	variant string         // the correct engine
	golden  harness.Source // its run, if made before; else the Go model's,
	threads int            // on so many threads,
	naive   *naive.Engine  // with these stages in place of its own, if set
	cutting *cutting       // and run so, if set
}

func (t trial) String() string {
	if t.planted == nil {
		return t.variant + ", " + t.name
	}
	var parts []string
	for _, in := range t.planted {
		parts = append(parts, fmt.Sprintf("%s at %s", in.ID, in.at))
	}
	name := t.name
	if t.cutting != nil {
		name += ", " + t.cutting.name
	}
	return fmt.Sprintf("%s: %s", name, strings.Join(parts, " and "))
}

// planting returns the trial of a case with faults in it.
func planting(name string, in ...injection) *trial {
	return &trial{name: name, planted: in, threads: 1}
}

// steps are the prompt and one decode step.
const steps = 2

// Cases with goldens of a block's every stage at the first two steps: prompts of two and
// three tokens, and a batch. Faults after the last block, where stages are as wide as
// the vocabulary, are planted in the first two.
var (
	blockCases = []string{"hello", "quick-brown", "batch-of-two"}
	headCases  = blockCases[:2]
)

// allFaultTrials returns the runs with each fault alone, with two, and with the pair that
// shows the tie rule: every logit 0. With quick every fifth fault alone is in a pair.
func allFaultTrials(cfg model.Config, quick bool) ([]*trial, error) {
	untied, err1 := faults.ByID("head_untied")
	rule, err2 := faults.ByID("tie_rule")
	alone, every := plan(cfg, quick), 1
	if quick {
		every = 5
	}
	tie := planting(headCases[0],
		injection{untied, harness.Place{Stage: "logits"}}, injection{rule, harness.Place{Stage: "next_token"}})
	return slices.Concat(alone, pairs(alone, every), []*trial{tie}), errors.Join(err1, err2)
}

// plan returns the runs of every fault alone: in each stage where it can sit, at the
// first, middle and last layer, at both steps; with quick one of these for each kind of
// stage, in turn, at which the fault may be seen.
func plan(cfg model.Config, quick bool) []*trial {
	var all []*trial
	turn := 0
	for i, f := range faults.Catalogue() {
		if f.Kind == faults.Padding {
			continue
		}
		for _, stages := range sites(cfg, f) {
			var some []*trial
			for _, stage := range stages {
				names := blockCases[turn%len(blockCases):][:1]
				if isHead(stage) {
					names = headCases
				}
				for step := range steps {
					for _, name := range names {
						some = append(some, planting(name, injection{f, harness.Place{Step: step, Stage: stage}}))
					}
				}
				turn++
			}
			if quick {
				k := (i + turn) % len(some)
				some = slices.Concat(some[k:], some[:k])
				seen := slices.IndexFunc(some, func(t *trial) bool { return identity(*t, t.planted[0], identical) < 0 })
				some = some[max(seen, 0):][:1]
			}
			all = append(all, some...)
		}
	}
	return all
}

// sites returns the stages in which a fault is planted, those of one kind together.
func sites(cfg model.Config, f faults.Fault) [][]string {
	var all [][]string
	at := map[string]int{}
	for _, stage := range model.StageNames(cfg, gpt2.Temperatures) {
		name, _ := model.ParseStage(stage)
		if !f.At(stage) || !slices.Contains([]int{-1, 0, cfg.Layers / 2, cfg.Layers - 1}, name.Layer) {
			continue
		}
		i, ok := at[name.Kind()]
		if !ok {
			i, all = len(all), append(all, nil)
			at[name.Kind()] = i
		}
		all[i] = append(all[i], stage)
	}
	return all
}

// pairs puts each injection of the plan into one run with one of another stage, far off
// in the plan and so of another subject.
func pairs(alone []*trial, every int) []*trial {
	var all []*trial
	used := make([]bool, len(alone))
	for i := 0; i < len(alone); i += every {
		if used[i] {
			continue
		}
		for k := range alone {
			j := (i + len(alone)/3 + 7*k) % len(alone)
			a, b := alone[i].planted[0], alone[j].planted[0]
			if used[j] || i == j || a.at.Stage == b.at.Stage || a.ID == b.ID {
				continue
			}
			used[i], used[j] = true, true
			all = append(all, planting(alone[i].name, a, b))
			break
		}
	}
	return all
}

// wholeCase is the case that correct engines run to its end, with every stage; of the
// others the stages as wide as the vocabulary and most steps are left out.
const wholeCase = "hello"

// cleanTrials returns the runs of correct engines: those with goldens, the Go model on 1
// to 3 threads, and a naive engine in several orders of summation.
func cleanTrials(engines map[string]map[string]harness.Source, quick bool) []*trial {
	cases := slices.Sorted(maps.Keys(engines[diagnose.Reference]))
	if quick {
		cases = blockCases[1:2]
	}
	var all []*trial
	add := func(t trial) {
		for _, name := range cases {
			t := t
			t.name = name
			all = append(all, &t)
		}
	}
	for _, engine := range slices.Sorted(maps.Keys(engines)) {
		for _, name := range cases {
			if g := engines[engine][name]; g != nil {
				all = append(all, &trial{name: name, variant: engine + "'s goldens", golden: g})
			}
		}
	}
	for threads := 1; threads <= 3; threads++ {
		add(trial{variant: fmt.Sprintf("Go, threads: %d", threads), threads: threads})
	}
	add(trial{variant: "float32, summed forwards", threads: 1, naive: &naive.Engine{Sum: naive.Forwards}})
	add(trial{variant: "float32, summed backwards", threads: 1, naive: &naive.Engine{Sum: naive.Backwards}})
	add(trial{variant: "float32, summed in halves", threads: 1, naive: &naive.Engine{Sum: naive.Pairwise}})
	add(trial{variant: "float32, variance in one pass", threads: 1, naive: &naive.Engine{Sum: naive.Forwards, OnePass: true}})
	return all
}

// An Identity is a faults.Identity with the injections that it excuses.
type Identity struct {
	faults.Identity
	Pairs  bool `json:"pairs"`  // only beside another fault, and only where it moves nothing, bit for bit
	Unseen int  `json:"unseen"` // how many it excuses, in a Matrix
}

// Identities are the faults that need not be seen: those of the catalogue, and one of a
// pair. They excuse no fault that moves its stage past the goldens' tolerance.
var Identities = func() (all []Identity) {
	for _, x := range faults.Identities() {
		all = append(all, Identity{Identity: x})
	}
	return append(all, Identity{Pairs: true, Identity: faults.Identity{
		Faults: "*", Stages: "*",
		Reason: "the pair's other fault left it nothing to change: zeros are the same in float16",
	}})
}()

// identity returns the index in Identities that excuses a fault for its effect, or -1.
func identity(t trial, in injection, e effect) int {
	return slices.IndexFunc(Identities, func(x Identity) bool {
		excused := e == identical || e == within
		if x.Pairs {
			excused = e == identical && len(t.planted) > 1
		}
		return excused && names.Match(x.Faults, in.ID) && names.Match(x.Stages, in.at.Stage)
	})
}
